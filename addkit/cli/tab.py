"""Answers to a shell's tab, in the protocol of the scripts that `--install-completion` writes.

Typer's own answer parses the line as if it would run, which loads pydantic and takes twice as long.
Here the words are only walked along the tree of commands; what completes an option or argument is
still what it names as `autocompletion`.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

VARIABLE = "_ADDKIT_COMPLETE"
"""Set by the shell: `complete_bash`, `complete_zsh`, `complete_fish` or `complete_powershell`."""


def answer(tree: Callable[[], Any]) -> bool:
    """Write the completions that a shell asks for; False if none does.

    Args:
        tree: makes the command whose sub-commands, options and arguments are looked through.
    """
    asked, _, shell = os.environ.get(VARIABLE, "").partition("_")
    if asked != "complete" or shell not in SHELLS:
        return False
    read, write = SHELLS[shell]
    words, incomplete = read()
    write(list(candidates(tree(), words, incomplete)))
    return True


def candidates(command: Any, words: Sequence[str], incomplete: str) -> Iterator[str]:
    """What may stand in place of the incomplete word behind the words, the program's name left out.

    Args:
        command: the root.
        words: whole ones.
        incomplete: the beginning of a word, possibly empty.
    """
    option: Any = None
    position = 0
    for word in words:
        if word.startswith("-"):
            option = _valued(command, word)
        elif option is not None:
            option = option if _goes_on(command, option) else None
        elif hasattr(command, "commands") and (found := command.get_command(None, word)):
            # A plugin's command is imported for its options.
            command, position = found.load() if hasattr(found, "load") else found, 0
        else:
            position += 1
    yield from _fitting(command, option, position, incomplete)


def _fitting(command: Any, option: Any, position: int, incomplete: str) -> Iterator[str]:
    name, equals, value = incomplete.partition("=")
    if incomplete.startswith("-") and equals:
        option = _valued(command, name)
        yield from (f"{name}={found}" for found in _values(option, value))
    elif incomplete.startswith("-"):
        names = (name for one in _options(command) for name in (*one.opts, *one.secondary_opts))
        yield from (name for name in (*names, "--help") if name.startswith(incomplete))
    elif option is not None:
        yield from _values(option, incomplete)
    elif hasattr(command, "commands"):
        yield from (name for name in command.list_commands(None) if name.startswith(incomplete))
    else:
        yield from _values(_argument(command, position), incomplete)


def _options(command: Any) -> Iterator[Any]:
    return (one for one in command.params if one.param_type_name == "option" and not one.hidden)


def _valued(command: Any, name: str) -> Any:
    """The option of this name, if the next word is its value."""
    fit = (one for one in _options(command) if name in one.opts and not one.is_flag)
    return next(fit, None)


def _goes_on(command: Any, option: Any) -> bool:
    """True if an option takes several words: `--loss ce mse`."""
    return bool(getattr(command, "several", False) and option.multiple)


def _argument(command: Any, position: int) -> Any:
    """The argument at a position; the last one where it takes any number of words."""
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    if position < len(arguments):
        return arguments[position]
    return arguments[-1] if arguments and arguments[-1].nargs == -1 else None


def _values(parameter: Any, incomplete: str) -> list[str]:
    if parameter is None:
        return []
    return [item.value for item in parameter.shell_complete(None, incomplete) if item.value]


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # a quote that is still open
        return line.split()


def _read_bash() -> tuple[list[str], str]:
    """bash takes `=` for a word of its own, and completes what stands behind it."""
    words, place = _split(os.environ["COMP_WORDS"]), int(os.environ["COMP_CWORD"])
    before, incomplete = words[1:place], words[place] if place < len(words) else ""
    if incomplete == "=":
        before, incomplete = [*before, "="], ""
    if len(before) > 1 and before[-1] == "=":
        return before[:-2], f"{before[-2]}={incomplete}"
    return before, incomplete


def _write_bash(found: Sequence[str]) -> None:
    key, equals, _ = _read_bash()[1].rpartition("=")
    sys.stdout.write("\n".join(word.removeprefix(key + equals) for word in found))


def _read_line() -> tuple[list[str], str]:
    line = os.environ.get("_TYPER_COMPLETE_ARGS", "")
    words = _split(line)[1:]
    if words and not line.endswith(" "):
        return words[:-1], words[-1]
    return words, ""


def _write_zsh(found: Sequence[str]) -> None:
    names = "\n".join(f'"{_escaped(word)}"' for word in found)
    sys.stdout.write(f"_arguments '*: :(({names}))'" if found else "_files")


def _escaped(word: str) -> str:
    for sign, told in (('"', '""'), ("'", "''"), ("$", "\\$"), ("`", "\\`"), (":", r"\\:")):
        word = word.replace(sign, told)
    return word


def _write_fish(found: Sequence[str]) -> None:
    """fish first asks whether there is anything, by the exit code."""
    if os.environ.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        sys.exit(0 if found else 1)
    sys.stdout.write("\n".join(found))


def _read_powershell() -> tuple[list[str], str]:
    words = _split(os.environ.get("_TYPER_COMPLETE_ARGS", ""))
    incomplete = os.environ.get("_TYPER_COMPLETE_WORD_TO_COMPLETE", "")
    return words[1:-1] if incomplete else words[1:], incomplete


def _write_powershell(found: Sequence[str]) -> None:
    sys.stdout.write("\n".join(f"{word}::: " for word in found))


SHELLS = {
    "bash": (_read_bash, _write_bash),
    "zsh": (_read_line, _write_zsh),
    "fish": (_read_line, _write_fish),
    "powershell": (_read_powershell, _write_powershell),
    "pwsh": (_read_powershell, _write_powershell),
}
"""How each asks, and how it wants to be told."""
