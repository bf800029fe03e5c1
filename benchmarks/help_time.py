"""`help`: wall time of `addkit --help` over importing typer and rich, and what it imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from measure import Options, Row, Target, alternate, ratios

FORBIDDEN = ("torch", "timm", "pydantic")
HEAVY = (*FORBIDDEN, "torchvision", "torchmetrics", "numpy", "PIL", "matplotlib", "safetensors")
ADDKIT = [str(Path(sys.executable).with_name("addkit")), "--help"]
BASELINE = [sys.executable, "-c", "import typer, rich"]
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
    pairs = 2 if options.quick else 15
    times = alternate(lambda: _run(ADDKIT), lambda: _run(BASELINE), fewest=pairs, most=pairs)
    first, second = (sorted(column)[len(times) // 2] for column in zip(*times, strict=True))
    yield Row(
        name="help",
        compares='addkit --help / python -c "import typer, rich"',
        values=ratios(times),
        target=Target(1.5),
        note=f"medians {1000 * first:.0f} ms and {1000 * second:.0f} ms",
    )
    loaded = _loaded()
    heavy = [name for name in HEAVY if name in loaded]
    yield Row(
        name="help",
        compares=f"heavy modules that addkit --help imports ({', '.join(FORBIDDEN)}, ...)",
        values=[len(heavy)],
        target=Target(0),
        note=f"{', '.join(heavy) or 'none of them'}; {len(loaded)} modules in all",
    )


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _loaded() -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], check=True, capture_output=True, encoding="utf-8"
    )
    return set(done.stderr.split())
