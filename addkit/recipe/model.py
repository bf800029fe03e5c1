"""A checked recipe, and its text. No torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from addkit.errors import RecipeError
from addkit.plugin.config import Config
from addkit.plugin.spec import Choices
from addkit.recipe.errors import Fault, FaultyRecipeError, Origin
from addkit.recipe.tables import (
    SHARED_TABLES,
    Ablation,
    Augmentation,
    Checkpoints,
    Control,
    Distributed,
    Features,
    Sampling,
    Training,
)
from addkit.recipe.toml import KeyPath, toml_key, toml_value


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A checked experiment."""

    name: str
    source: Path
    summary: str
    seed: int
    choices: Choices
    """Kind -> the component and its settings."""
    training: Training
    features: Features
    augmentation: Augmentation
    sampling: Sampling
    checkpoints: Checkpoints
    distributed: Distributed
    control: Control
    ablation: Ablation
    files: tuple[Path, ...] = ()
    """The recipe and what it extends."""
    requires: tuple[str, ...] = ()
    """Packages that provide its components, such as `addkit-clip>=0.3`."""
    written: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """The tables before defaults are filled in, as arms of an ablation change them."""
    find_origin: Callable[[KeyPath], Origin] | None = field(default=None, compare=False, repr=False)
    """The file and line of a key, or of its table."""
    dropped: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Kind -> the keys of a base that its component lacks, as a sentence."""

    @property
    def model_name(self) -> str:
        """The name of its network in progress lines, tables, plots and pages.

        The process names it; a denoiser that reads no noisy label makes a classifier of any.
        """
        # An ability and not the name of a denoiser, so that a plugin's control is named alike.
        if "reads-state" not in self.choices["denoiser"].spec.provides:
            return "classifier"
        process: Any = self.choices["process"].spec
        return str(process.model_name or process.name)

    def tables(self) -> dict[str, Any]:
        """The resolved recipe as plain data: reading it again gives an equal recipe."""
        chosen = {
            kind: {"name": choice.name, **_plain(choice.config)}
            for kind, choice in self.choices.items()
        }
        shared = {table: _plain(getattr(self, table)) for table in SHARED_TABLES}
        return {
            "name": self.name,
            "summary": self.summary,
            "seed": self.seed,
            # Left out where empty, as a recipe leaves it out.
            **({"requires": list(self.requires)} if self.requires else {}),
            **chosen,
            **shared,
        }


@contextmanager
def placed(recipe: Recipe) -> Iterator[None]:
    """Begin a `RecipeError` of a plan or a training with the file and line of the key it names."""
    try:
        yield
    except RecipeError as error:
        text = str(error).removeprefix(f"{recipe.source}: ")
        tables = "|".join((*recipe.choices, *SHARED_TABLES))
        named = re.findall(rf"\b({tables})\]? ?\.?(\w*)", text)
        if isinstance(error, FaultyRecipeError) or recipe.find_origin is None or not named:
            raise
        values = recipe.tables()
        # Else the message quotes a value, such as the name of a model.
        quoted = [(named[0][0], k) for k, v in values[named[0][0]].items() if f'"{v}"' in text]
        keys = [*((table, key) for table, key in named if key in values[table]), *quoted]
        table, key = (*keys, (named[0][0], "name"))[0]
        origin = recipe.find_origin((table, key))
        if not origin.line and not origin.is_override:
            raise
        fault = Fault(origin, text, f"{table}.{key}")
        raise FaultyRecipeError([fault]) from error


def _plain(config: Config) -> dict[str, Any]:
    # TOML has no null: a key that is None is left out, and reading gives the default None again.
    return config.model_dump(mode="json", exclude_none=True)


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as TOML.

    `recipe_from_tables(tomllib.loads(text), path)` gives the same experiment again.
    """
    lines = []
    resolved = recipe.tables()
    tables = {key: value for key, value in resolved.items() if isinstance(value, dict)}
    # TOML counts every key after a header to that table, so keys of the top come first.
    top = {key: value for key, value in resolved.items() if key not in tables}
    for name, table in {"": top, **tables}.items():
        lines += [f"\n[{name}]"] if name else []
        lines += [f"{toml_key(key)} = {toml_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"
