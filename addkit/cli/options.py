"""Options that several commands share: run, changes, JSON, lists, and names of components.

A list has one grammar everywhere: commas or repetition, `--steps 1,5 --steps 20`. An option that
takes KEY=VALUE is repeated, since a value may have commas of its own.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from addkit.cli.completion import complete_component, complete_key, complete_run

BUILT_IN = {
    "loss": ("ce", "weighted-ce", "mse", "mse-noise", "asymmetric"),
    "to_one": ("argmax", "softmax", "sample"),
    "sampler": (
        *("renoise", "ddim", "ancestral", "gibbs", "refine", "maskgit", "left-to-right", "beam"),
        *("surest-beam", "weighted-draws", "leave-one-out"),
    ),
    "read_out": ("last", "one-pass", "mean", "vote", "consensus", "likelihood"),
    "timesteps": ("power", "discrete", "warped"),
    "schedule": ("linear", "cosine", "sigmoid", "label-accuracy"),
    "embedding": ("linear", "posterior", "token"),
    "denoiser": ("mlp", "linear", "transformer", "control"),
    "encoder": ("cnn", "vit", "timm"),
    "conditioner": ("mean-token", "class-token", "class-tokens", "all-tokens"),
    "tokenizer": ("none", "words", "tokenizers-file", "open-clip"),
    "process": ("gaussian", "masked", "autoregressive", "blocks"),
}
"""Components named in help texts, the usual ones first.

A constant, because `--help` would otherwise wait for the catalogue; a test compares the two.
"""

ALLOWED = {str: "names", int: "integers (1,5,20)", float: "numbers (1,1.5,2)"}

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="TABLE.KEY=VALUE",
        help="Change a key of the recipe; the value is TOML. Repeatable.",
        autocompletion=complete_key,
    ),
]
DataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="data.KEY=VALUE",
        help="New location of data that was moved after training. Repeatable.",
        autocompletion=complete_key,
    ),
]
RunOption = Annotated[
    str | None,
    typer.Option(
        help="Run, checkpoint, or pack: a zip, a URL, hf://ORG/NAME; the newest finished run if "
        "absent.",
        autocompletion=complete_run,
    ),
]
RunOrAblation = Annotated[
    Path | None,
    typer.Argument(
        metavar="RUN_OR_ABLATION",
        help="Run or ablation; the newest finished run if absent.",
        show_default=False,
        autocompletion=complete_run,
    ),
]
WeightsOption = Annotated[str, typer.Option(help="ema (averaged) or raw.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Random seed of the sampling noise.")]

# KEY=VALUE is one value, whatever commas it has.
PAIR = re.compile(r"[\w.-]+=")
OPENING, CLOSING = "([{", ")]}"


def list_option(*names: str, item: type = str, **settings: Any) -> Any:
    """A `typer.Option` for a parameter of type `list[item] | None`.

    Args:
        names: such as `--set`; by default the parameter's name.
        item: `str`, `int` or `float`.
        settings: of `typer.Option`.
    """

    def parse(texts: list[str] | None) -> list[Any] | None:
        if not texts:
            return None
        values: list[Any] = []
        for text in texts:
            parts = split(text)
            try:
                values += [item(part) for part in parts]
            except ValueError:
                parts = []
            # Commas alone are no list, either.
            if not parts:
                message = f'"{text}": give {ALLOWED[item]} with commas between'
                raise typer.BadParameter(message)  # typer adds the option's name
        return values

    # typer must not convert "1,5" before it is split, so its own parser returns the text.
    return typer.Option(*names, parser=str, callback=parse, **settings)


def component_option(kind: str, panel: str, *, several: bool = False) -> Any:
    """The option that names a component of one kind, or several of them to compare."""
    settings: dict[str, Any] = {
        "metavar": "NAME,..." if several else "NAME",
        "help": f"{', '.join(BUILT_IN[kind])}, or a plugin's.",
        "autocompletion": complete_component(kind),
        "rich_help_panel": panel,
    }
    return list_option(**settings) if several else typer.Option(**settings)


def split(text: str) -> list[str]:
    """The parts of a text between its commas, except commas within brackets or quotes."""
    if PAIR.match(text):
        return [text]
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in OPENING:
            depth += 1
        elif letter in CLOSING:
            depth -= 1
        # A closing bracket without an opening one must not join the rest of the list.
        if letter == "," and depth <= 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]
