"""What a pack contains, and that it answers as its run does, wherever it is."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

import addkit
from addkit.data.digits import Digits
from addkit.data.settings import DigitsConfig
from addkit.errors import RecipeError, RunError, UsageError
from addkit.export.run import script_text
from addkit.model import build_data, build_network
from addkit.packs import pack, push
from addkit.recipe import Recipe, read_recipe
from addkit.runs import Run
from addkit.runs.checkpoint import CheckpointWriter, Progress
from addkit.runs.checkpoint_files import Keep
from addkit.runs.opening import opened
from addkit.runs.packs import is_pack, portable

from .servers import Hub

# Of huggingface_hub's own upload.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def _read(file: Path, name: str) -> bytes:
    with zipfile.ZipFile(file) as archive:
        return archive.read(name)


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    return Digits(DigitsConfig.model_validate({})).split("test").batch(range(40), None).images


def test_it_has_what_a_model_needs_and_nothing_else(digits_pack: Path, digits_run: Path) -> None:
    with zipfile.ZipFile(digits_pack) as archive:
        assert set(archive.namelist()) == {
            *("README.md", "checksums.json", "recipe.toml", "facts.json", "manifest.json"),
            "model.safetensors",
        }
    content = digits_pack.read_bytes()
    # Names of the machine: folders of the run, of the data, of the user; its system.
    manifest = Run(digits_run).manifest()
    for text in (digits_run.parent, Path.cwd(), Path.home(), manifest.environment.platform):
        assert str(text).encode() not in content or str(text) == "/"
    assert json.loads(_read(digits_pack, "facts.json"))["files"] == []
    packed = json.loads(_read(digits_pack, "manifest.json"))
    assert packed["weights"] == "ema"
    assert packed["scores"] == {"ema": manifest.scores["ema"]}
    assert set(packed["controls"]) == {"control, linear", "control, mlp"}
    assert digits_pack.stat().st_size < 3e6


def test_its_card(digits_pack: Path, digits_run: Path) -> None:
    card = _read(digits_pack, "README.md").decode()
    _, front, text = card.split("---\n", 2)
    matter: dict[str, Any] = yaml.safe_load(front)
    assert (matter["license"], matter["library_name"]) == ("mit", "addkit")
    assert matter["pipeline_tag"] == "image-classification"
    (result,) = matter["model-index"][0]["results"]
    scores = Run(digits_run).scores()["ema"]
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values["accuracy"] == pytest.approx(scores["top1"], abs=0.005)
    assert values["ece"] == pytest.approx(scores["ece"], abs=0.005)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 5
    assert rows[2].count(" to ") == 2
    never = Run(digits_run).manifest().never_predicted
    assert ("never predicts" in text) == bool(never)


def test_its_card_has_the_program_that_an_export_writes(digits_pack: Path) -> None:
    """tests/export runs that program without addkit and torch."""
    card = _read(digits_pack, "README.md").decode()
    blocks = re.findall(r"^```python\n(.*?)^```$", card, re.MULTILINE | re.DOTALL)
    assert [block for block in blocks if "onnxruntime" in block] == [script_text()]


def test_the_same_run_gives_the_same_bytes(
    digits_run: Path, digits_pack: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(digits_run, tmp_path / "elsewhere" / "other-name")
    packed = pack(moved, tmp_path / "other.zip", license="mit")
    assert packed.file.read_bytes() == digits_pack.read_bytes()
    assert pack(moved, tmp_path / "other.zip", license="mit") == packed
    with pytest.raises(UsageError, match="exists"):
        pack(moved, packed.file, license="other")
    with pytest.raises(UsageError, match=r"ends in \.zip"):
        pack(moved, tmp_path / "other.tar")
    assert packed.file.read_bytes() == digits_pack.read_bytes()


def test_all_ways_answer_to_the_bit(
    digits_run: Path, digits_pack: Path, digits: torch.Tensor, tmp_path: Path, hub: Hub, web: Any
) -> None:
    expected = addkit.load(digits_run).predict(digits, steps=3, chains=2, top=10)
    folder = tmp_path / "folder"
    zipfile.ZipFile(digits_pack).extractall(folder)
    pushed = push(digits_run, "org/digits")
    with web(lambda _: (200, {}, digits_pack.read_bytes())) as (url, _):
        for where in (
            digits_pack,
            str(folder),
            f"{url}/digits.zip",
            "hf://org/digits",
            pushed.name,
        ):
            model = addkit.load(where)
            assert model.predict(digits, steps=3, chains=2, top=10) == expected
            assert model.weights == "ema"
    # Offline the cache has it.
    assert addkit.load("hf://org/digits").predict(digits[:1])
    assert not list(tmp_path.glob("addkit-*"))


def test_weights(digits_run: Path, digits: torch.Tensor, tmp_path: Path) -> None:
    raw = tmp_path / "raw.zip"
    pack(digits_run, raw, weights="raw")
    model = addkit.load(raw)
    assert model.weights == "raw"
    expected = addkit.load(digits_run, weights="raw").predict(digits)
    assert addkit.load(raw, weights="raw").predict(digits) == model.predict(digits) == expected
    averaged = tmp_path / "ema.zip"
    # The scores are those of the last checkpoint.
    pack(digits_run / "checkpoints" / "step-00000019", averaged)
    assert json.loads(_read(averaged, "manifest.json"))["scores"] == {}
    with pytest.raises(UsageError, match="averaged"):
        addkit.load(averaged, weights="raw")
    with pytest.raises(UsageError, match="is a pack"):
        pack(averaged, tmp_path / "again.zip")


def _untrained(recipe: Recipe, folder: Path) -> Path:
    """A run that was saved before its first step."""
    facts = build_data(recipe).facts
    run = Run.create(folder, recipe, facts)
    run.begin()
    weights = build_network(recipe, facts).state_dict()
    with CheckpointWriter(run.checkpoints, Keep(), asynchronous=False) as writer:
        writer.save(Progress(step=1), {"ema": weights, "raw": weights})
    return folder


def test_files_of_the_machine_are_packed_or_not_needed(
    recipes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The encoder's first weights and the data are gone; the tokenizer's file is in the pack."""
    tokenizers = pytest.importorskip("tokenizers")
    words = {"<pad>": 0, "[UNK]": 1, "a": 2, "cat": 3}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    model.add_special_tokens(["<pad>", "[UNK]"])
    model.save(str(tmp_path / "words.json"))
    data = tmp_path / "data"
    data.mkdir()
    for number in range(10):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(data / f"{number}.png")
        (data / f"{number}.txt").write_text("a cat\n")
    vit = {"name": "vit", "patch_size": 8, "width": 16, "depth": 1, "heads": 2}
    first = tmp_path / "first.safetensors"
    small = [f"encoder.{key}={value}" for key, value in vit.items()]
    small += [f"data.root={data}", "data.image_size=16", "training.ema=0.9"]
    small += ["denoiser.width=16", "denoiser.depth=1", "sampling.steps=2"]
    small += ["tokenizer.name=tokenizers-file", f"tokenizer.file={tmp_path / 'words.json'}"]
    recipe = read_recipe(recipes / "caption-folder.toml", [*small, "tokenizer.pad='<pad>'"])
    network = build_network(recipe, build_data(recipe).facts)
    save_file(network.encoder.model.state_dict(), first)
    overrides = [*small, "tokenizer.pad='<pad>'", f"encoder.weights={first}"]
    run = _untrained(read_recipe(recipes / "caption-folder.toml", overrides), tmp_path / "run")
    packed = pack(run, tmp_path / "captions.zip")
    assert "tokenizer-file.json" in packed.members
    assert str(tmp_path).encode() not in packed.file.read_bytes()
    image = torch.zeros(1, 3, 16, 16)
    expected = addkit.load(run).predict(image)
    first.unlink()
    (tmp_path / "words.json").unlink()
    shutil.rmtree(data)
    assert addkit.load(packed.file).predict(image) == expected
    with opened(packed.file) as folder, pytest.raises(RunError, match="no file of this pack"):
        text = (folder / "recipe.toml").read_text().replace("tokenizer-file.json", "other.json")
        (folder / "recipe.toml").write_text(text)
        (folder / "other.json").write_text("{}")
        _reseal(folder)
        addkit.load(folder)


def _reseal(folder: Path) -> None:
    from addkit.runs.checkpoint_files import checksum_of

    names = json.loads((folder / "checksums.json").read_text())
    sums = {name: checksum_of(folder / name) for name in names}
    (folder / "checksums.json").write_text(json.dumps(sums))


def test_plugins_are_named(
    digits_run: Path, tmp_path: Path, digits: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(digits_run, tmp_path / "run")
    components = dict(Run(run).manifest().environment.components)
    components["loss"] = "ce (addkit-other 0.3 sha256:1f2e3d4c)"
    environment = Run(run).manifest().environment.model_dump() | {"components": components}
    Run(run).note(environment=environment)
    packed = pack(run, tmp_path / "run.zip")
    assert packed.plugins == ("addkit-other 0.3 sha256:1f2e3d4c",)
    assert "addkit-other 0.3 sha256:1f2e3d4c" in _read(packed.file, "README.md").decode()
    with opened(packed.file) as folder:
        assert is_pack(folder)
        text = (folder / "recipe.toml").read_text().replace('"cnn"', '"gone"')
        (folder / "recipe.toml").write_text(text)
        _reseal(folder)
        with pytest.raises(RecipeError, match=r"addkit-other 0\.3 sha256:1f2e3d4c"):
            addkit.load(folder)


@pytest.mark.parametrize(
    ("root", "packed"),
    [
        ("data/photos", "data/photos"),
        ("/srv/photos", "photos"),
        ("../photos", "photos"),
        ("~/photos", "photos"),
        ("C:\\photos", "photos"),
    ],
)
def test_paths_of_data(recipes: Path, root: str, packed: str) -> None:
    changes = [f"data.root='{root}'", f"features.folder='{root}'"]
    recipe = portable(read_recipe(recipes / "image-folder.toml", changes))[0]
    assert recipe.choices["data"].config.root == Path(packed)  # type: ignore[attr-defined]
    assert recipe.features.folder == Path(packed)


def test_paths_that_inference_would_read(recipes: Path) -> None:
    recipe = read_recipe(
        recipes / "caption-folder.toml",
        [
            "data.root=x",
            "tokenizer.name=tokenizers-file",
            "tokenizer.file=x.bin",
            "tokenizer.pad=x",
        ],
    )
    with pytest.raises(RunError, match="cannot be packed"):
        portable(recipe)
