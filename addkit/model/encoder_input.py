"""The input that an encoder's pretrained weights expect, in place of settings that are unset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from addkit.data.settings import DataConfig
from addkit.plugin.config import Config
from addkit.plugin.values import DataFacts, EncoderInput, Fit, Interpolation
from addkit.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class InputPlan:
    """How a picture becomes the encoder's input, and where that comes from."""

    image_size: int
    image_channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shorter_side: int
    interpolation: Interpolation
    fit: Fit
    expected: tuple[str, ...]
    """Keys of the data that the recipe leaves to the encoder."""
    origin: str
    """Where their values come from; empty if there are none."""

    @classmethod
    def of(cls, recipe: Recipe, facts: DataFacts) -> InputPlan:
        """The plan of a recipe and the facts of its data."""
        before = recipe.choices["data"].config
        after = with_encoder_input(recipe).choices["data"].config
        expected = tuple(
            key for key in type(before).model_fields if getattr(before, key) != getattr(after, key)
        )
        source = expected_input(recipe)
        return cls(
            image_size=facts.image_size,
            image_channels=facts.image_channels,
            mean=facts.mean,
            std=facts.std,
            shorter_side=facts.shorter_side,
            interpolation=facts.interpolation,
            fit=facts.fit,
            expected=expected,
            origin=source.origin if source and expected else "",
        )

    def rows(self) -> Iterator[tuple[str, str]]:
        """(heading, text) of each line for people."""
        size, share = self.image_size, self.image_size / self.shorter_side
        crop = f", centre crop of {share:.3g}" if self.fit == "crop" and share < 1 else ""
        means, stds = (" ".join(f"{x:g}" for x in dict.fromkeys(v)) for v in (self.mean, self.std))
        yield (
            "input of the encoder",
            f"{self.image_channels} x {size} x {size}, {self.fit}{crop}, {self.interpolation}, "
            f"mean {means}, std {stds}",
        )
        if self.expected:
            yield f"{self.origin}", ", ".join(self.expected)


def expected_input(recipe: Recipe) -> EncoderInput | None:
    """The input that the weights of the recipe's encoder expect; None: any."""
    config: Config = recipe.choices["encoder"].config
    return config.expected_input()


def with_encoder_input(recipe: Recipe) -> Recipe:
    """The recipe with the pixels' settings that its encoder's weights expect where it has none."""
    data, expected = recipe.choices["data"], expected_input(recipe)
    # A plugin's data need not have settings of addkit's.
    if expected is None or not isinstance(data.config, DataConfig):
        return recipe
    changed = replace(data, config=data.config.for_encoder(expected))
    return replace(recipe, choices={**recipe.choices, "data": changed})
