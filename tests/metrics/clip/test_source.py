from __future__ import annotations

import ast
import shutil
import sys
from pathlib import Path

import pytest

from addkit.errors import UsageError
from addkit.metrics import clip
from addkit.metrics.clip import ClipFile, ClipFolder, ClipTag, parse_clip

TAGS = "its tags are openai, yfcc15m, cc12m; or name a file, RN50-quickgelu:weights.safetensors"
FORMS = "give MODEL:TAG (ViT-B-32:openai), MODEL:FILE (ViT-B-32:weights.safetensors) or FOLDER"


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("ViT-B-32:openai", ClipTag("ViT-B-32", "openai")),
        ("ViT-B/32:openai", ClipTag("ViT-B-32", "openai")),
        ("ViT-B-32:laion2b-s34b-b79k", ClipTag("ViT-B-32", "laion2b-s34b-b79k")),
    ],
)
def test_tags(text: str, tag: ClipTag) -> None:
    assert parse_clip(text) == tag


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    file.touch()
    assert parse_clip(f"ViT-B-32:{file}") == ClipFile("ViT-B-32", file)


def test_a_file_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("no-ending").touch()
    assert parse_clip("ViT-B-32:no-ending") == ClipFile("ViT-B-32", Path("no-ending"))


def test_a_folder(tiny_folder: Path) -> None:
    assert parse_clip(str(tiny_folder)) == ClipFolder(tiny_folder)


def test_a_folder_in_the_home(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tiny_folder.parent))
    assert parse_clip("~/tiny-clip") == ClipFolder(tiny_folder)


def _refused(text: str) -> str:
    with pytest.raises(UsageError) as error:
        parse_clip(text)
    return str(error.value)


@pytest.mark.parametrize("text", ["", "nothing/here"])
def test_neither_folder_nor_model(text: str) -> None:
    assert _refused(text) == f'CLIP "{text}": no such folder, and no model; {FORMS}'


def test_an_unknown_model() -> None:
    import open_clip

    count = len(open_clip.list_models())
    assert _refused("ViT-B32:openai") == (
        f'CLIP "ViT-B32:openai": open_clip {open_clip.__version__} has no model "ViT-B32" (did you '
        f'mean "ViT-B-32"?); open_clip.list_models() names all {count}; {FORMS}'
    )


def test_an_unknown_tag() -> None:
    assert _refused("RN50-quickgelu:openia") == (
        'CLIP "RN50-quickgelu:openia": open_clip has no weights "openia" for RN50-quickgelu (did '
        f'you mean "openai"?); {TAGS}'
    )


@pytest.mark.parametrize("text", ["RN50-quickgelu", "RN50-quickgelu:"])
def test_no_weights(text: str) -> None:
    assert _refused(text) == f'CLIP "{text}": which weights?; {TAGS}'


def test_a_model_without_tags(tiny_model: str) -> None:
    assert _refused("tiny:openai") == (
        'CLIP "tiny:openai": open_clip has no weights "openai" for tiny; it has no tags; or name '
        "a file, tiny:weights.safetensors"
    )


@pytest.mark.parametrize("file", ["none.pt", "none.safetensors", "nothing/here"])
def test_a_missing_file(file: str) -> None:
    assert _refused(f"RN50:{file}") == f'CLIP "RN50:{file}": no file "{file}"'


def test_a_folder_without_config(tmp_path: Path) -> None:
    assert _refused(str(tmp_path)) == (
        f'CLIP folder "{tmp_path}" has no open_clip_config.json, which describes the model'
    )


def test_a_folder_without_weights(tmp_path: Path, tiny_folder: Path) -> None:
    shutil.copy(tiny_folder / "open_clip_config.json", tmp_path)
    (tmp_path / "weights.pt").touch()
    assert _refused(str(tmp_path)) == (
        f'CLIP folder "{tmp_path}" has no weights: none of *.safetensors, *.pth, *.bin'
    )


def test_open_clip_is_imported_when_asked_for(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in Path(clip.__file__).parent.glob("*.py"):
        outermost = ast.parse(path.read_text("utf-8")).body
        imports = [node for node in outermost if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert "open_clip" not in " ".join(map(ast.unparse, imports))
    monkeypatch.setitem(sys.modules, "open_clip", None)
    assert parse_clip(str(tiny_folder)) == ClipFolder(tiny_folder)
