"""A local file of weights: by name, by order, or an error that says why not."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from addkit.errors import RecipeError

FACTS = {"image_size": 8, "image_channels": 3}
SIZES = {"patch_size": 4, "width": 24, "depth": 1, "heads": 3}


@pytest.fixture
def vit(build):
    """A tiny ViT; its weights are new unless a file is named."""
    return lambda **settings: build("encoder", "vit", FACTS, **SIZES, **settings)


@pytest.fixture
def other(vit) -> dict[str, torch.Tensor]:
    """Weights that no new model has."""
    generator = torch.Generator().manual_seed(9)
    state = vit().model.state_dict()
    return {name: torch.randn(x.shape, generator=generator) for name, x in state.items()}


def _holds(encoder, tensors: dict[str, torch.Tensor]) -> None:
    state = encoder.model.state_dict()
    assert list(state) == list(tensors)
    for name, value in tensors.items():
        assert torch.equal(state[name], value), name


def _write(path: Path, content) -> Path:
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_are_read_by_name(vit, other, tmp_path: Path, suffix: str) -> None:
    shuffled = {name: other[name] for name in sorted(other, reverse=True)}
    _holds(vit(weights=_write(tmp_path / f"vit{suffix}", shuffled)), other)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_classifier_head_in_the_file_is_left_out(vit, other, tmp_path, suffix: str) -> None:
    head = {"head.weight": torch.ones(10, 24), "head.bias": torch.ones(10)}
    _holds(vit(weights=_write(tmp_path / f"vit{suffix}", other | head)), other)


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_a_checkpoints_inner_dictionary_is_found(vit, other, tmp_path, key: str) -> None:
    content = {key: other, "epoch": 3, "args": {"lr": 0.1}}
    _holds(vit(weights=_write(tmp_path / "vit.pth", content)), other)


@pytest.mark.parametrize("extra", [False, True], ids=["alone", "with a head"])
def test_a_port_of_the_network_is_read_by_order(vit, other, tmp_path, extra: bool) -> None:
    renamed = {f"port.{number:03}": x for number, x in enumerate(other.values())}
    if extra:
        renamed |= {"port.head": torch.ones(10, 24)}
    _holds(vit(weights=_write(tmp_path / "vit.pth", renamed)), other)


def test_a_backbone_reads_its_file_too(build, tmp_path) -> None:
    facts = {"image_size": 32, "image_channels": 3}
    plain = build("encoder", "timm", facts, model="test_resnet")
    state = {
        name: x + 1 if x.is_floating_point() else x for name, x in plain.model.state_dict().items()
    }
    path = _write(tmp_path / "resnet.safetensors", state)
    _holds(build("encoder", "timm", facts, model="test_resnet", weights=path), state)


def test_a_dry_run_does_not_read_the_file(vit, tmp_path) -> None:
    with torch.device("meta"):
        assert vit(weights=tmp_path / "absent.pth").num_tokens == 5


# Files that do not serve.


def _refusal(vit, path: Path) -> str:
    with pytest.raises(RecipeError) as caught:
        vit(weights=path)
    return str(caught.value)


def test_a_missing_file_is_named(vit, tmp_path) -> None:
    path = tmp_path / "absent.pth"
    assert _refusal(vit, path) == f'[encoder] weights: no file "{path}"'


class Opens:
    """Would open a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self.path), "w")


def test_code_in_a_file_is_neither_run_nor_advised(vit, tmp_path) -> None:
    path = tmp_path / "vit.pth"
    torch.save({"state_dict": Opens(tmp_path / "opened")}, path)
    refusal = _refusal(vit, path)
    assert "weights_only" not in refusal
    assert ".safetensors" in refusal
    assert not (tmp_path / "opened").exists()


def test_a_missing_tensor_is_named(vit, other, tmp_path) -> None:
    del other["norm.bias"]
    path = _write(tmp_path / "vit.pth", other)
    assert _refusal(vit, path) == (
        f'[encoder] weights: "{path}" does not fit: 1 of {len(other) + 1} tensors are '
        "missing or of another shape, the first is norm.bias (24,)"
    )


def test_a_tensor_of_another_shape_is_named(vit, other, tmp_path) -> None:
    other["pos_embed"] = torch.zeros(1, 10, 24)
    path = _write(tmp_path / "vit.safetensors", other)
    assert _refusal(vit, path) == (
        f'[encoder] weights: "{path}" does not fit: 1 of {len(other)} tensors are '
        "missing or of another shape, the first is pos_embed (1, 5, 24)"
    )


@pytest.mark.parametrize(
    "content",
    [{"a": torch.zeros(3)}, {"epoch": 3, "best": 0.5}, {}, [torch.zeros(3)], torch.zeros(3)],
    ids=["other names", "no tensors", "nothing", "a list", "a tensor"],
)
def test_a_file_of_something_else_does_not_fit(vit, other, tmp_path, content) -> None:
    path = _write(tmp_path / "vit.pth", content)
    assert _refusal(vit, path) == (
        f'[encoder] weights: "{path}" does not fit: {len(other)} of {len(other)} tensors are '
        "missing or of another shape, the first is cls_token (1, 1, 24)"
    )


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_broken_file_is_an_error(vit, tmp_path, suffix: str) -> None:
    path = tmp_path / f"vit{suffix}"
    path.write_bytes(b"not weights at all")
    assert _refusal(vit, path).startswith(f'[encoder] weights: cannot read "{path}": ')


class Evil:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_nothing_but_tensors_is_unpickled(vit, tmp_path) -> None:
    path, trace = tmp_path / "vit.pth", tmp_path / "trace"
    torch.save({"state_dict": Evil(trace)}, path)
    assert _refusal(vit, path).startswith(f'[encoder] weights: cannot read "{path}": ')
    path.write_bytes(pickle.dumps(Evil(trace)))
    assert _refusal(vit, path).startswith(f'[encoder] weights: cannot read "{path}": ')
    assert not trace.exists()
