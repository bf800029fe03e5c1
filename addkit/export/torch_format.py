"""The format of torch.export, for programs that have torch and no addkit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from addkit.runs.atomic import whole_file

METADATA = "metadata.json"
"""Name of the extra file: `torch.export.load(path, extra_files={"metadata.json": ""})` fills it."""


def write_torch(program: ExportedProgram, metadata: Mapping[str, str], path: Path) -> None:
    """Write a traced graph with its metadata."""
    with whole_file(path) as temporary, temporary.open("wb") as file:
        torch.export.save(program, file, extra_files={METADATA: json.dumps(dict(metadata))})


def run_torch(program: ExportedProgram) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """The graph as a function."""
    module = program.module()

    def run(images: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return tuple(module(images).values())

    return run
