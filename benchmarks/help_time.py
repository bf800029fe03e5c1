"""`help`: wall time of help, lists and tabs over that of some imports, and what is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from measure import Options, Row, Target, alternate, ratios

FORBIDDEN = ("torch", "timm", "pydantic")
HEAVY = (*FORBIDDEN, "torchvision", "torchmetrics", "numpy", "PIL", "matplotlib", "safetensors")
ADDKIT = str(Path(sys.executable).with_name("addkit"))
COMMANDS = {"--help": 1.4, "plugins list": 1.6, "recipes list": 1.6, "plugins show loss ce": None}
"""Command -> the ratio that it may have."""
BASELINE = [sys.executable, "-c", "import typer, rich, pydantic, pluggy"]
TABS = ("addkit tr", "addkit recipes show d", "addkit ablate --loss m", "addkit ablate --set tr")
"""Lines of a shell, the last word of each to be completed."""
LOADED = """
import sys
sys.argv = ["addkit", "--help"]
from addkit.cli.main import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def rows(options: Options) -> Iterator[Row]:
    """The ratio, then the number of heavy modules."""
    for words, most in COMMANDS.items():
        yield _timed([ADDKIT, *words.split()], {}, f"addkit {words}", options, most)
    for line in TABS:
        words = line.split()
        asked = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
        environment = {**asked, "_ADDKIT_COMPLETE": "complete_bash"}
        yield _timed([ADDKIT], environment, f"a tab behind `{line}`", options)
    loaded = _loaded()
    heavy = [name for name in HEAVY if name in loaded]
    yield Row(
        name="help",
        compares=f"heavy modules that addkit --help imports ({', '.join(FORBIDDEN)}, ...)",
        values=[len(heavy)],
        target=Target(0),
        note=f"{', '.join(heavy) or 'none of them'}; {len(loaded)} modules in all",
    )


def _timed(
    command: list[str], more: dict[str, str], what: str, options: Options, most: float | None = None
) -> Row:
    pairs = 2 if options.quick else 15
    times = alternate(
        lambda: _run(command, more), lambda: _run(BASELINE, {}), fewest=pairs, most=pairs
    )
    first, second = (sorted(column)[len(times) // 2] for column in zip(*times, strict=True))
    return Row(
        name="help",
        compares=f'{what} / python -c "{BASELINE[-1]}"',
        values=ratios(times),
        target=most and Target(most),
        note=f"medians {1000 * first:.0f} ms and {1000 * second:.0f} ms",
    )


def _run(command: list[str], more: dict[str, str]) -> None:
    nowhere = subprocess.DEVNULL
    subprocess.run(command, check=True, stdout=nowhere, stderr=nowhere, env={**os.environ, **more})


def _loaded() -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], check=True, capture_output=True, encoding="utf-8"
    )
    return set(done.stderr.split())
