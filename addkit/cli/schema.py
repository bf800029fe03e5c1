"""`addkit schema`."""

from __future__ import annotations


def schema() -> None:
    """Print a JSON Schema of recipes for your editor, with every installed component.

    \b
    addkit schema > addkit.schema.json
    Then begin a recipe with:  #:schema ./addkit.schema.json
    """
    from addkit.cli.output import Output
    from addkit.recipe.schema import recipe_schema

    Output(json=True).data(recipe_schema())
