"""Options that take several values: `--loss ce mse`, `--loss ce,mse` and `--loss ce --loss mse`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from addkit.cli.grouped import GroupedCommand
from addkit.cli.options import PAIR, split

NUMBER = re.compile(r"-(\d|\.\d)")


class SeveralCommand(GroupedCommand):
    """A command whose repeatable options also take several values in a row, or with commas.

    Use it as `app.command(cls=SeveralCommand)`. Every option declared as a list takes part.
    """

    several = True
    """Shells go on completing values behind the first."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Spread the values, then parse as ever."""
        several = {
            name
            for option in self.get_params(ctx)
            if getattr(option, "multiple", False)
            for name in option.opts
        }
        takes_recipe = any(one.name == "recipe" for one in self.get_params(ctx))
        own = is_recipe if takes_recipe else ends_in_toml
        return super().parse_args(ctx, spread(args, several, own))


def ends_in_toml(word: str) -> bool:
    """True for a recipe's file."""
    return word.endswith(".toml") and not PAIR.match(word)


def is_recipe(word: str) -> bool:
    """True for a recipe's file, and for the bare name of a known one that no component has."""
    from addkit.plugin.registry import load_registry
    from addkit.recipe.files import known_recipes

    if ends_in_toml(word):
        return True
    return word in known_recipes() and not any(
        word == name for kind, name in load_registry().components if kind != "data"
    )


def spread(
    args: Sequence[str],
    several: Collection[str],
    own: Callable[[str], bool] = ends_in_toml,
) -> list[str]:
    """`--opt a b,c` as `--opt a --opt b --opt c`, for the options named in `several`.

    Values stop at the next option. After the first one, a word of which `own` is true is the
    command's own argument, so that `--loss ce mse recipe.toml` names a recipe; so is all that
    follows `--`.
    """
    told: list[str] = []
    option: str | None = None
    words = iter(args)
    for word in words:
        if word == "--":
            return [*told, word, *words]
        name, equals, value = word.partition("=")
        if name in several:
            option = name
            first = value if equals else next(words, None)
            told += [name] if first is None else _repeated(name, first)
        elif _is_option(word):
            option = None
            told.append(word)
        elif option is None or own(word):
            told.append(word)
        else:
            told += _repeated(option, word)
    return told


def _is_option(word: str) -> bool:
    return len(word) > 1 and word.startswith("-") and not NUMBER.match(word)


def _repeated(option: str, word: str) -> list[str]:
    return [told for piece in pieces(word) for told in (option, piece)]


def pieces(word: str) -> list[str]:
    """The parts between commas; the word itself where there are none."""
    return split(word) or [word]
