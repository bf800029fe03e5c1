"""Export of a run: checks, conversion, comparison with addkit, and the files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Literal

from torch import Tensor

from addkit.errors import AddkitError, RunError, UsageError
from addkit.export.check import Comparison, compare
from addkit.export.graph import Graph, check_graph, converted, example_images, output_names
from addkit.export.metadata import metadata_of
from addkit.export.onnx_format import check_onnx, run_onnx, to_onnx, write_onnx
from addkit.export.torch_format import run_torch, write_torch
from addkit.model import Inference, Predictor, build_data
from addkit.recipe import recipe_from_tables
from addkit.runs.atomic import write_text

Format = Literal["onnx", "torch"]
Precision = Literal["fp32", "fp16"]

ENDINGS: Mapping[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}
COMPARED = 256
"""Images of the test split that a file is compared on."""
TOLERANCE = 1e-4
"""Of probabilities in fp32; fp16 has no bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The files of an export and how they compare with addkit."""

    file: Path
    script: Path | None
    """A program that predicts with the file; None for torch."""
    outputs: tuple[str, ...]
    inference: Inference
    comparison: Comparison
    compared_on: str
    """`test`, or why it was not images of the data set."""


def check_target(path: Path, to: Format, *, force: bool) -> None:
    """Raise `UsageError` if the file has another ending, no folder, or exists."""
    ending = ENDINGS[to]
    if path.suffix.lower() != ending:
        raise UsageError(f'--output {path}: ending "{path.suffix}"; --to {to} writes {ending}')
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--output {path}: there is no folder {path.parent}")
    written = [path, path.with_suffix(".py")] if to == "onnx" else [path]
    for each in written:
        if each.exists() and not force:
            raise UsageError(f"{each}: exists; choose another name with -o, or give --force")


def script_text() -> str:
    """The program that predicts with an ONNX file of its own name, without addkit or torch."""
    return (files("addkit.export") / "script" / "predict.py").read_text("utf-8")


def export_run(
    predictor: Predictor,
    path: Path,
    *,
    to: Format = "onnx",
    precision: Precision = "fp32",
    inference: Inference | None = None,
    overrides: Sequence[str] = (),
) -> Exported:
    """Write the file, once it answers as addkit does.

    Args:
        predictor: the run's.
        path: of the file, checked by `check_target`.
        to: the format.
        precision: fp16 computes the encoder in half precision.
        inference: settings of the answers; None: the recipe's.
        overrides: `data.KEY=VALUE` for data that was moved.

    Raises:
        UsageError: the answers need random numbers or side inputs, or a package is missing.
        PluginError: names a component that cannot be exported.
        RunError: the file's answers differ from addkit's; nothing is written.
    """
    inference = predictor.inference if inference is None else inference
    # A graph has no branches: every image takes every step.
    inference = inference.replace(early_exit=0)
    if to == "onnx":
        size = {"fp32": 4, "fp16": 2}[precision]
        check_onnx(sum(size * tensor.numel() for tensor in predictor.network.parameters()))
    check_graph(predictor, inference)
    graph = Graph(predictor, inference, half=precision == "fp16")
    write: Callable[[Mapping[str, str], Path], None]
    if to == "onnx":
        model = converted(graph, predictor, to_onnx)
        run, write = run_onnx(model), partial(write_onnx, model)
    else:
        program = converted(graph, predictor, lambda program: program)
        run, write = run_torch(program), partial(write_torch, program)
    images, origin = _images(predictor, overrides)
    comparison = compare(predictor, inference, run, images)
    different = comparison.difference > TOLERANCE or comparison.other_answers > 0
    if precision == "fp32" and different:
        raise RunError(
            f"the exported graph answers differently: {comparison.other_answers} of "
            f"{comparison.images} images have another answer, probabilities differ by up to "
            f"{comparison.difference:.1e}; nothing was written"
        )
    write(metadata_of(predictor, inference, precision), path)
    script = path.with_suffix(".py") if to == "onnx" else None
    if script is not None:
        write_text(script, script_text())
    return Exported(
        file=path,
        script=script,
        outputs=output_names(predictor.facts),
        inference=inference,
        comparison=comparison,
        compared_on=origin,
    )


def _images(predictor: Predictor, overrides: Sequence[str]) -> tuple[Tensor, str]:
    """Images of the test split, prepared; made-up ones where the data is gone, with the reason."""
    recipe = predictor.recipe
    try:
        moved = recipe_from_tables(recipe.tables(), recipe.source, overrides=overrides)
        split = build_data(moved).split("test")
        return split.batch(range(min(len(split), COMPARED)), None).images, "test"
    except UsageError:
        raise
    except AddkitError as error:
        return example_images(predictor.facts), str(error)
