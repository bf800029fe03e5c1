"""Recipes: the whole of an experiment as one TOML file, checked before anything is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from addkit.lazy import lazy

# `as` makes each name public for type checkers, which cannot compute `__all__`.
if TYPE_CHECKING:
    from addkit.recipe.model import Recipe as Recipe
    from addkit.recipe.model import dump_recipe as dump_recipe
    from addkit.recipe.reading import read_recipe as read_recipe
    from addkit.recipe.reading import recipe_from_tables as recipe_from_tables
    from addkit.recipe.tables import Ablation as Ablation
    from addkit.recipe.tables import Arm as Arm
    from addkit.recipe.tables import Augmentation as Augmentation
    from addkit.recipe.tables import Control as Control
    from addkit.recipe.tables import Distributed as Distributed
    from addkit.recipe.tables import Sampling as Sampling
    from addkit.recipe.tables import Training as Training

_HOMES = {
    "addkit.recipe.model": "Recipe dump_recipe",
    "addkit.recipe.reading": "read_recipe recipe_from_tables",
    "addkit.recipe.tables": "Ablation Arm Augmentation Control Distributed Sampling Training",
}
"""Modules of the public names. Imported on first use: shells complete recipes without pydantic."""

__all__ = sorted(" ".join(_HOMES.values()).split())

__getattr__ = lazy(__name__, _HOMES)
