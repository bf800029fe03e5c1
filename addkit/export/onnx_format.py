"""The ONNX format: conversion of a traced graph, and its answers in onnxruntime."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from addkit.errors import UsageError
from addkit.runs.atomic import whole_file

if TYPE_CHECKING:
    import onnx

OPSET = 18
"""Version of the operators; docs/lab/export.md has the speed of others."""
MOST_BYTES = 2**31 - 2**24
"""Of weights in one file, less what the graph itself takes: protobuf's limit is 2 GiB."""


def check_onnx(weights: int) -> None:
    """Raise `UsageError` if a package is missing, or so many bytes of weights are too many."""
    for package in ("onnx", "onnxruntime", "onnxscript"):
        if find_spec(package) is None:
            raise UsageError(
                f"--to onnx needs the package {package}, which is not installed. Install it with: "
                'pip install "addkit[export]"'
            )
    if weights > MOST_BYTES:
        raise UsageError(
            f"the weights take {weights / 2**30:.1f} GiB, and an ONNX file has 2 GiB at most; use "
            "--precision fp16 or --to torch"
        )


def _searchsorted(sequence: Tensor, values: Tensor) -> Tensor:
    """Number of elements of a rising sequence (n,) below each value."""
    return (values.unsqueeze(-1) > sequence).sum(-1)


def _stable_sort(
    x: Tensor, *, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> tuple[Tensor, Tensor]:
    """Sorted values and their indices; ONNX's TopK keeps equals in their order."""
    values, indices = torch.topk(x, x.shape[dim], dim, descending, True)
    return values, indices


def _stable_argsort(x: Tensor, *, stable: bool, dim: int = -1, descending: bool = False) -> Tensor:
    return _stable_sort(x, dim=dim, descending=descending)[1]


_MISSING: Mapping[Any, Callable[..., Any]] = {
    torch.ops.aten.searchsorted.Tensor: _searchsorted,
    torch.ops.aten.sort.stable: _stable_sort,
    torch.ops.aten.argsort.stable: _stable_argsort,
}
"""Operators that the exporter lacks, by others."""


def to_onnx(program: ExportedProgram) -> onnx.ModelProto:
    """An ONNX model of a traced graph, without any trace of the code that it was made from."""
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        # Deprecations within torch and onnxscript.
        warnings.simplefilter("ignore")
        if any(node.target in _MISSING for node in program.graph.nodes):
            program = program.run_decompositions(dict(_MISSING))
        # A graph returns its outputs by name; a component alone may not.
        names = program.call_spec.out_spec
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            output_names=names.context if names is not None and names.type is dict else None,
            verbose=False,
        )
    assert exported is not None
    model: onnx.ModelProto = exported.model_proto
    # The exporter notes files and lines of this machine at every node.
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    for node in [*model.graph.node, *(n for f in model.functions for n in f.node)]:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
        # The exporter numbers its symbols.
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def write_onnx(model: onnx.ModelProto, metadata: Mapping[str, str], path: Path) -> None:
    """Write a model with its metadata."""
    import onnx

    onnx.helper.set_model_props(model, dict(metadata))
    with whole_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def run_onnx(model: onnx.ModelProto) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """The model in onnxruntime, on the CPU with as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (name,) = (each.name for each in session.get_inputs())

    def run(images: Tensor) -> tuple[Tensor, ...]:
        return tuple(map(torch.from_numpy, session.run(None, {name: images.numpy()})))

    return run
