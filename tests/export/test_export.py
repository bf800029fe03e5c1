"""Exported files answer as addkit does; what cannot be exported is refused by name."""

from __future__ import annotations

import json
import logging
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

from addkit.data.images import Pixels, read_image
from addkit.errors import PluginError, RunError, UsageError
from addkit.export.graph import Graph, check_graph, converted
from addkit.export.metadata import metadata_of
from addkit.export.onnx_format import to_onnx
from addkit.export.run import export_run, script_text
from addkit.model import Predictor, build_data, build_network, load
from addkit.plugin import load_registry
from addkit.plugin.values import Fit
from addkit.recipe import read_recipe

Build = Callable[..., Predictor]

TINY = ("encoder.widths=[8]", "encoder.blocks=1", "denoiser.width=16", "denoiser.depth=1")
VIT = (
    *('encoder.name="vit"', 'encoder.model="vit_tiny_patch16_224"', "encoder.patch_size=4"),
    *("encoder.width=8", "encoder.depth=1", "encoder.heads=2", "denoiser.depth=1"),
)
JOINT = ('denoiser.name="transformer"', "denoiser.heads=2", "denoiser.width=16")
CAPTIONS = (*TINY, "denoiser.heads=2", "data.image_size=8")

COVERED = {
    "digits-refine": ("digits", (*TINY, 'sampler.name="refine"', 'read_out.name="last"'), 2),
    "digits-vit": (
        "digits",
        (*VIT, *JOINT, 'conditioner.name="class-tokens"', 'embedding.name="linear"'),
        1,
    ),
    "digits-control": (
        "digits",
        (*VIT, 'conditioner.name="class-token"', 'denoiser.name="control"', 'denoiser.head="mlp"'),
        1,
    ),
    "digits-linear": ("digits", (*TINY[:2], 'denoiser.name="linear"'), 1),
    "tags": ("tags", CAPTIONS, 1),
    "captions-maskgit": ("emoji", (*CAPTIONS, 'sampler.name="maskgit"'), 2),
    "attributes-left-to-right": (
        "attributes",
        (
            *(*CAPTIONS, 'process.name="autoregressive"', 'sampler.name="left-to-right"'),
            'embedding.name="token"',
        ),
        1,
    ),
}
"""Recipe, overrides and steps; with `TIMM` they have every built-in component."""
TIMM = ('encoder.name="timm"', 'encoder.model="test_resnet"', *TINY[2:])


@pytest.fixture(autouse=True)
def without_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest's handler would have torch write each graph out, several times."""
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)


@pytest.fixture(scope="module")
def untrained(recipes: Path) -> Build:
    """A run's predictor with random weights, none of them 0."""

    def build(recipe_name: str, *overrides: str, steps: int = 1) -> Predictor:
        recipe = read_recipe(recipes / f"{recipe_name}.toml", overrides)
        facts = build_data(recipe).facts
        network = build_network(recipe, facts)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
        return Predictor(network, recipe, facts, steps)

    return build


@pytest.mark.parametrize("name", COVERED)
def test_onnx_answers_as_addkit(name: str, untrained: Build, tmp_path: Path) -> None:
    recipe, overrides, steps = COVERED[name]
    predictor = untrained(recipe, *overrides)
    inference = predictor.inference.replace(steps=steps)
    exported = export_run(predictor, tmp_path / "m.onnx", inference=inference)
    assert exported.compared_on == "test"
    assert exported.comparison.other_answers == 0
    assert exported.comparison.difference < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert [each.name for each in session.get_outputs()] == list(exported.outputs)
    (images,) = session.get_inputs()
    assert (images.name, images.shape[0]) == ("images", "batch")
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == list(predictor.class_names)
    assert json.loads(metadata["mean"]) == pytest.approx(predictor.facts.mean)
    content = (tmp_path / "m.onnx").read_bytes()
    assert str(Path.cwd()).encode() not in content
    assert b"site-packages" not in content


def test_every_component_is_covered(recipes: Path) -> None:
    seen: dict[str, set[str]] = {}
    for recipe_name, overrides, _ in (*COVERED.values(), ("digits", TIMM, 1)):
        choices = read_recipe(recipes / f"{recipe_name}.toml", overrides).choices
        for kind, choice in choices.items():
            seen.setdefault(kind, set()).add(choice.name)
    for kind in ("encoder", "conditioner", "embedding", "denoiser", "task"):
        assert set(load_registry().names(kind)) == seen[kind], kind
    assert {"refine", "maskgit", "left-to-right"} <= seen["sampler"]


def test_torch_export_answers_as_addkit(untrained: Build, tmp_path: Path) -> None:
    predictor = untrained("digits", *TIMM)
    exported = export_run(predictor, tmp_path / "m.pt2", to="torch", precision="fp16")
    assert exported.comparison.difference < 0.05
    extra = {"metadata.json": ""}
    images = torch.zeros(3, 1, 8, 8)
    answer = torch.export.load(tmp_path / "m.pt2", extra_files=extra).module()(images)
    assert answer["probabilities"].shape == (3, 10)
    assert json.loads(extra["metadata.json"]) == metadata_of(predictor, exported.inference, "fp16")


@pytest.mark.parametrize(
    ("recipe", "changes", "drawn"),
    [
        ("digits", {"read_out": "last", "steps": 3}, True),
        ("digits", {"read_out": "last", "steps": 3, "sampler": "ddim"}, True),
        ("digits", {"read_out": "last", "steps": 3, "sampler": "refine", "to_one": "sample"}, True),
        ("digits", {"read_out": "last", "steps": 1}, False),
        ("emoji", {"sampler": "renoise", "steps": 2}, True),
        ("emoji", {"sampler": "maskgit", "steps": 20}, False),
    ],
)
def test_answers_that_draw_are_refused(
    recipe: str, changes: dict[str, object], drawn: bool, untrained: Build
) -> None:
    predictor = untrained(recipe, *(TINY if recipe == "digits" else CAPTIONS))
    inference = predictor.inference.replace(**changes)
    if not drawn:
        check_graph(predictor, inference)
        return
    with pytest.raises(UsageError, match="draws") as error:
        check_graph(predictor, inference)
    # What it advises is not refused.
    option, _, name = str(error.value).rpartition(" --")[2].partition(" ")
    assert (option, name) != (changes.get("sampler"), "sampler")


def test_a_component_that_cannot_be_exported_is_named(untrained: Build) -> None:
    predictor = untrained("digits", *TINY)

    class Branching(nn.Module):
        width, num_tokens, num_prefix_tokens = 8, 64, 0

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            sign = 1 if bool(images.sum() > 0) else -1
            return sign * images.flatten(1)[..., None].expand(-1, -1, 8)

    predictor.network.encoder = Branching()
    with pytest.raises(PluginError, match='the encoder "cnn" cannot be exported'):
        converted(Graph(predictor, predictor.inference, half=False), predictor, to_onnx)


def test_a_file_that_answers_differently_is_not_written(
    untrained: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = untrained("digits", *TINY)
    other = untrained("digits", *TINY, "seed=5")
    monkeypatch.setattr("addkit.export.run.converted", lambda *_: None)
    monkeypatch.setattr(
        "addkit.export.run.run_torch",
        lambda _: lambda images: (other.network.diffusion.null_token.new_zeros(len(images), 10),),
    )
    with pytest.raises(RunError, match="answers differently"):
        export_run(predictor, tmp_path / "m.pt2", to="torch")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fit", ["crop", "squash", "letterbox"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_script_prepares_pictures_as_addkit(
    fit: Fit, channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = Pixels(16, channels, (0.3,) * channels, (0.4,) * channels, 18, "bilinear", fit)
    values = {**asdict(pixels), "image_channels": channels, "class_names": ["a"]}
    metadata = SimpleNamespace(custom_metadata_map={k: json.dumps(v) for k, v in values.items()})
    session = SimpleNamespace(get_modelmeta=lambda: metadata)
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda path: session)
    monkeypatch.setattr(sys, "argv", ["predict.py"])
    (tmp_path / "predict.py").write_text(script_text())
    prepare = runpy.run_path(str(tmp_path / "predict.py"))["prepare"]
    levels = np.random.default_rng(0).integers(0, 256, (23, 41, 4), np.uint8)
    Image.fromarray(levels).save(tmp_path / "picture.png")
    expected = pixels.prepared(read_image(tmp_path / "picture.png", channels)).numpy()
    np.testing.assert_allclose(prepare(tmp_path / "picture.png"), expected, atol=1e-6)


BLOCKED = """
import runpy, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "addkit"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_command_and_the_script_without_torch(
    addkit, digits_run: Path, digit_images: list[Path], tmp_path: Path
) -> None:
    said = addkit("export", digits_run, "-o", "m.onnx", "--json")
    assert said.code == 0, said.err
    assert said.json["file"] == "m.onnx"
    assert said.json["other_answers"] == 0
    assert addkit("export", digits_run, "-o", "m.onnx").code == 2
    assert addkit("export", digits_run, "-o", "m.txt").code == 2
    call = [sys.executable, "-c", BLOCKED, "m.py", *map(str, digit_images)]
    out = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    predictions = load(digits_run).predict(digit_images)
    for line, prediction in zip(out.splitlines(), predictions, strict=True):
        name, probability = line.rpartition(": ")[2].split(", ")[0].split()
        assert name == prediction.label.name
        assert float(probability) == pytest.approx(prediction.label.probability, abs=2e-4)


def test_unfinished_runs_are_refused(addkit, digits_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(digits_run, tmp_path / "run")
    file = run / "manifest.json"
    manifest = {**json.loads(file.read_text("utf-8")), "status": "running"}
    manifest.pop("sha256", None)
    file.write_text(json.dumps(manifest), encoding="utf-8")
    said = addkit("export", run)
    assert said.code == 1
    assert "--resume" in said.err
