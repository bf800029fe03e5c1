"""What commands import: not the packages that take longer to import than torch itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HEAVY = ("torchmetrics", "torchvision", "torch._dynamo", "torch._inductor", "torch.onnx")
HEAVY += ("torch.distributed.fsdp", "sympy", "triton", "matplotlib", "timm", "pandas", "scipy")

CODE = """
import contextlib, json, sys
from addkit.cli.main import main

for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    with contextlib.suppress(SystemExit):
        main()
    print("imported", *({*sys.modules} & set(HEAVY)), file=sys.stderr)
"""


def test_sample_and_a_dry_run_import_what_their_components_need(
    digits_run: Path, digit_images: list[Path], tmp_path: Path, recipes: Path
) -> None:
    commands = (
        ["sample", str(digit_images[0]), "--run", str(digits_run), "--json"],
        ["train", "--dry-run", str(recipes / "digits.toml"), "--json"],
    )
    words = [sys.executable, "-c", f"HEAVY = {HEAVY}\n{CODE}", json.dumps(commands)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [line for line in done.stderr.splitlines() if line.startswith("imported")] == [
        "imported",
        "imported",
    ]
    assert done.stdout.count("parameters") == 1
    assert done.stdout.count("probability") >= 1
