from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip import factory, pretrained
from open_clip.transformer import QuickGELU
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from addkit.errors import DataError
from addkit.metrics.clip import ClipFile, ClipFolder, ClipScorer, ClipSource, ClipTag
from addkit.metrics.clip.loading import load_clip

CPU = torch.device("cpu")
TAG = ClipTag("tiny", "some-tag")
Pictures = Callable[[int], list[Image.Image]]
Weights = dict[str, Tensor]


@pytest.fixture
def tag_facts(monkeypatch: pytest.MonkeyPatch, tiny_model: str) -> dict[str, Any]:
    """What open_clip knows of the tag."""
    facts = {
        "hf_hub": "someone/tiny/",
        "mean": (0.1, 0.2, 0.3),
        "std": (0.4, 0.5, 0.6),
        "interpolation": "bilinear",
        "resize_mode": "squash",
        "quick_gelu": True,
    }
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny", {"some_tag": facts})
    return facts


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch, tag_facts: dict[str, Any], tiny_folder: Path) -> None:
    """The tag's weights lie there already."""
    path = tiny_folder / "open_clip_model.safetensors"
    monkeypatch.setattr(open_clip, "download_pretrained", lambda facts: str(path))


def _refused(source: ClipSource) -> str:
    with pytest.raises(DataError) as error:
        load_clip(source, CPU)
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("ending", [".safetensors", ".pt", "-checkpoint.pt"])
def test_a_weight_file_gives_what_the_folder_gives(
    ending: str,
    tmp_path: Path,
    tiny_model: str,
    tiny_folder: Path,
    tiny_weights: Weights,
    pictures: Pictures,
) -> None:
    path = tmp_path / f"weights{ending}"
    match ending:
        case ".safetensors":
            save_file(tiny_weights, path)
        case ".pt":
            torch.save(tiny_weights, path)
        case _:  # as open_clip's own training writes them
            wrapped = {f"module.{name}": x for name, x in tiny_weights.items()}
            torch.save({"epoch": 3, "state_dict": wrapped}, path)
    of_file = ClipScorer(ClipFile(tiny_model, path))
    of_folder = ClipScorer(ClipFolder(tiny_folder))
    for one, other in (
        (of_file.image_features(pictures(3)), of_folder.image_features(pictures(3))),
        (of_file.text_features(["a", "b"]), of_folder.text_features(["a", "b"])),
    ):
        torch.testing.assert_close(one, other)
    assert (of_file.describe().model, of_file.describe().weights) == ("tiny", str(path))


def test_a_folder_names_its_weights(tiny_folder: Path, tmp_path: Path) -> None:
    named = load_clip(ClipFolder(tiny_folder), CPU)
    assert (named.model_name, named.weights_name) == ("tiny-clip", "tiny (random, for tests)")
    config = json.loads((tiny_folder / "open_clip_config.json").read_text("utf-8"))
    del config["weights_name"]
    shutil.copy(tiny_folder / "open_clip_model.safetensors", tmp_path)
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config), "utf-8")
    nameless = load_clip(ClipFolder(tmp_path), CPU)
    assert (nameless.model_name, nameless.weights_name) == (tmp_path.name, str(tmp_path))


def test_a_folder_is_named_by_its_place(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_folder)
    assert load_clip(ClipFolder(Path()), CPU).model_name == "tiny-clip"


def test_a_tag_brings_its_activation_and_its_image_scale(fetched: None) -> None:
    clip = load_clip(TAG, CPU)
    assert (clip.model_name, clip.weights_name) == ("tiny", "some-tag")
    assert any(isinstance(part, QuickGELU) for part in clip.model.modules())
    grey = Image.new("RGB", (10, 20), (51, 51, 51))
    scaled = clip.preprocess(grey)
    expected = [(0.2 - mean) / std for mean, std in ((0.1, 0.4), (0.2, 0.5), (0.3, 0.6))]
    assert scaled.shape == (3, 32, 32)
    assert scaled[:, 0, 0].tolist() == pytest.approx(expected)


def test_the_model_is_for_looking_only(tiny_folder: Path) -> None:
    model = load_clip(ClipFolder(tiny_folder), CPU).model
    assert not model.training
    assert not any(one.requires_grad for one in model.parameters())


def test_loading_leaves_no_trace(
    tiny_folder: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, hub = logging.getLogger(), logging.getLogger("huggingface_hub")
    monkeypatch.setattr(root, "handlers", [])
    level, state = hub.level, torch.get_rng_state()
    load_clip(ClipFolder(tiny_folder), CPU)
    assert root.handlers == []
    assert hub.level == level
    assert torch.equal(torch.get_rng_state(), state)
    assert capfd.readouterr() == ("", "")


def test_a_failed_download(monkeypatch: pytest.MonkeyPatch, tag_facts: dict[str, Any]) -> None:
    def fail(facts: dict[str, Any]) -> str:
        logging.getLogger("huggingface_hub.utils").warning("Retrying")
        raise FileNotFoundError("Failed to download file.\nCheck your connection.")

    monkeypatch.setattr(open_clip, "download_pretrained", fail)
    assert _refused(TAG) == (
        "CLIP tiny:some-tag: cannot fetch its weights from hf.co/someone/tiny. Where there is no "
        "network, copy open_clip_config.json and the weights from there into a folder and give "
        "the folder. The cause: Failed to download file. Check your connection."
    )
    del tag_facts["hf_hub"]
    tag_facts["url"] = "https://example.org/tiny.pt"
    assert "cannot fetch its weights from https://example.org/tiny.pt. Where" in _refused(TAG)


def test_files_and_folders_fetch_nothing(
    monkeypatch: pytest.MonkeyPatch, tiny_folder: Path, tiny_model: str
) -> None:
    def forbidden(*arguments: object, **options: object) -> str:
        raise AssertionError("a download")

    for module, name in (
        (open_clip, "download_pretrained"),
        (factory, "download_pretrained"),
        (factory, "download_pretrained_from_hf"),
    ):
        monkeypatch.setattr(module, name, forbidden)
    load_clip(ClipFolder(tiny_folder), CPU)
    load_clip(ClipFile(tiny_model, tiny_folder / "open_clip_model.safetensors"), CPU)


class Code:
    """An object in a malicious file."""


@pytest.mark.filterwarnings(
    "ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning"
)
@pytest.mark.parametrize("holds", ["an object", "TorchScript"])
def test_nothing_but_tensors_is_unpickled(holds: str, tmp_path: Path, tiny_model: str) -> None:
    path = tmp_path / "weights.pt"
    if holds == "an object":
        torch.save({"state_dict": Code()}, path)
    else:
        torch.jit.script(torch.nn.Linear(1, 1)).save(path)
    text = _refused(ClipFile(tiny_model, path))
    # torch's own error, which would have the user unpickle the file, is left out.
    assert f'"{path}" cannot be loaded: ' in text
    assert "state_dict as .safetensors" in text
    assert "weights_only" not in text


def test_broken_files(tmp_path: Path, tiny_model: str) -> None:
    start = f'CLIP tiny with the weights in "{tmp_path}'
    empty = tmp_path / "empty.pt"
    empty.touch()
    assert _refused(ClipFile(tiny_model, empty)) == f'{start}/empty.pt" cannot be loaded: EOFError'
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"junk")
    assert _refused(ClipFile(tiny_model, junk)).startswith(
        f'{start}/junk.safetensors" cannot be loaded: Error while deserializing'
    )


def test_weights_of_another_model(tmp_path: Path, tiny_model: str, tiny_weights: Weights) -> None:
    path = tmp_path / "weights.pt"
    torch.save({name: x for name, x in tiny_weights.items() if name != "text_projection"}, path)
    assert _refused(ClipFile(tiny_model, path)) == (
        f'CLIP tiny with the weights in "{path}" cannot be loaded: Error(s) in loading state_dict '
        'for CLIP: Missing key(s) in state_dict: "text_projection".'
    )


@pytest.mark.parametrize("config", ["{", "[]", "{}", '{"model_cfg": {}}'])
def test_a_broken_config(config: str, tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_folder / "open_clip_model.safetensors", tmp_path)
    (tmp_path / "open_clip_config.json").write_text(config, "utf-8")
    assert f'the CLIP in "{tmp_path}" cannot be loaded: ' in _refused(ClipFolder(tmp_path))


def test_a_tokenizer_of_a_missing_package(
    monkeypatch: pytest.MonkeyPatch, tiny_weights: Weights, tmp_path: Path
) -> None:
    foreign = {
        "text_cfg": {"hf_tokenizer_name": "someone/tokens"},
        "vision_cfg": {},
        "embed_dim": 8,
    }
    monkeypatch.setitem(factory._MODEL_CONFIGS, "foreign", foreign)
    monkeypatch.setitem(sys.modules, "transformers", None)
    text = _refused(ClipFile("foreign", tmp_path / "weights.pt"))
    assert text.startswith("the tokenizer of CLIP foreign with the weights in ")
    assert " needs a package that is not here: import of transformers halted" in text
