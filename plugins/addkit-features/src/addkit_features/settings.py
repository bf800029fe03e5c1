"""Settings of the encoder, and the encoder that they name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from addkit.errors import PluginError
from addkit.plugin import Config, Spec, load_registry
from addkit.plugin.config import Count, CountOrZero


class FrozenFeaturesConfig(Config):
    """z = E(x), where the weights of the encoder E are fixed: z is computed once for each image.

    Training reads z from files; a user's own images, and evaluations after training, go through E.
    """

    of: dict[str, Any] = Field(
        {"name": "vit", "patch_size": 4, "width": 32, "depth": 1, "heads": 2},
        description="The encoder E: its table, with its name.",
    )
    cache: Path = Field(Path("cache/features"), description="Folder for the features.")
    views: CountOrZero = Field(
        0,
        description="Augmented views of each training image, one at random an epoch; 0: the image.",
    )
    dtype: Literal["float32", "float16"] = Field(
        "float32", description="Type of the features on disk."
    )
    batch_size: Count = Field(256, description="Images at a time while features are computed.")
    frozen: Literal[True] = Field(True, description="True: E cannot be trained.")

    def from_scratch(self) -> Self:
        """The same, but E starts from random weights and loads no pretrained ones."""
        spec, config = inner(self.of)
        bare = config.from_scratch().model_dump(mode="json", exclude_none=True)
        return self.model_copy(update={"of": {"name": spec.name, **bare}})


def inner(table: Mapping[str, Any]) -> tuple[Spec[Any, Any], Config]:
    """The encoder that a table names, and its settings. Raises `PluginError` if it is none."""
    settings = {key: value for key, value in table.items() if key != "name"}
    spec = load_registry().get("encoder", str(table.get("name", ""))).spec
    if spec.name == "frozen-features":
        # Itself as E would never end.
        raise PluginError("of names frozen-features itself; name the encoder behind it")
    try:
        config: Config = spec.settings.model_validate(settings)
    except ValidationError as error:
        errors = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise PluginError(f'encoder "{spec.name}": {errors}') from error
    return spec, config
