"""A user's own folder, end to end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import addkit as package
from addkit.cli.progress import LiveView
from addkit.runs import Run
from addkit.training.trainer import StepReport, Trainer

Cli = Callable[..., Any]

COLOURS = {"blue": (30, 60, 220), "green": (40, 200, 50), "red": (220, 40, 30)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three classes of twelve small pictures, each of one colour with noise."""
    root = tmp_path / "photos"
    noise = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for number in range(12):
            pixels = np.array(colour) + noise.integers(-30, 30, (20, 24, 3))
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(root / name / f"{number:02}.png")
    return root


@pytest.fixture
def words(recipes: Path) -> list[Any]:
    changes = [
        *("data.root=photos", "data.image_size=16", "encoder.widths=[8, 16]"),
        "data.validation=0",
        *("denoiser.width=16", "denoiser.depth=1", "training.epochs=1"),
        *(
            "training.batch_size=8",
            "training.lr=1e-2",
            "training.ema=0",
            "training.warmup_epochs=0",
        ),
    ]
    sets = [word for change in changes for word in ("--set", change)]
    return ["train", recipes / "image-folder-small.toml", "--run-dir", "run", "--json", *sets]


def _cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:200])
    return path


@pytest.mark.usefixtures("photos")
def test_a_folder_becomes_a_classifier(addkit: Cli, words: list[Any]) -> None:
    said = addkit(*words, "--set", "training.epochs=4")
    assert said.code == 0, said.err
    assert "blue 10, green 10, red 10" in said.err
    assert said.json["scores"]["raw"]["count"] == 6
    run = Run(Path("run"))
    assert run.facts().class_names == tuple(COLOURS)
    assert run.facts().split_sizes == {"train": 30, "test": 6}
    said = addkit("evaluate", "--run", "run", "--json")
    assert said.json["results"][0]["top5"] == 100

    # The run answers and is moved when its folder is gone.
    Path("photos").rename("moved")
    pictures = [f"moved/{name}/00.png" for name in COLOURS]
    said = addkit("sample", *pictures, "--run", "run", "--json", "--trace", "t.png")
    assert said.code == 0, said.err
    names = {label["name"] for entry in said.json for label in entry["labels"]}
    assert names == set(COLOURS)
    told = package.load("run").predict(pictures)
    assert [p.label.name for p in told] == [e["labels"][0]["name"] for e in said.json]

    said = addkit("evaluate", "--run", "run")
    assert said.code == 1
    assert said.err.startswith("error: data.root: photos does not exist.")
    here = Path("moved").absolute()
    said = addkit("evaluate", "--run", "run", "--set", f"data.root={here}", "--json")
    assert said.code == 0, said.err
    assert said.json["results"][0]["count"] == 6


def test_other_classes_are_refused(addkit: Cli, words: list[Any], photos: Path) -> None:
    assert addkit(*words).code == 0
    shutil.copytree(photos, "more")
    Path("more/red").rename("more/rosy")
    said = addkit("evaluate", "--run", "run", "--set", "data.root=more", "--no-audit", "--json")
    assert said.code == 0
    assert said.err.startswith("warning: the data's class names")
    shutil.rmtree("more/rosy")
    said = addkit("evaluate", "--run", "run", "--set", "data.root=more")
    assert (said.code, said.err) == (
        1,
        "error: the data has 2 classes, and the run was trained on 3\n",
    )


def test_a_broken_training_file_stops(addkit: Cli, words: list[Any], photos: Path) -> None:
    train = [path for path in sorted(photos.rglob("*.png")) if path.name != "00.png"]
    bad = [_cut(path) for path in train[:8]]
    (photos / "red" / "notes.txt").write_text("not an image")
    said = addkit(*words)
    assert said.code == 1
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert lines[0].startswith("error: photos: ")
    assert lines[0].endswith(" files cannot be used:")
    assert any(f"{path.relative_to(photos.parent)}: cut short" in said.err for path in bad)
    assert lines[-1].endswith('set data.bad_files = "skip" to leave them out.')
    assert not Path("run").exists()


def test_a_broken_test_file_stops_before_training(
    addkit: Cli, words: list[Any], photos: Path
) -> None:
    for name in ("train", "test"):
        shutil.copytree(photos, photos.parent / "both" / name)
    _cut(photos.parent / "both" / "test" / "red" / "05.png")
    said = addkit(*words, "--set", "data.root=both")
    assert said.code == 1
    assert "both/test/red/05.png: cut short" in said.err
    assert "ADD: " not in said.err
    assert not Path("run").exists()


def test_bad_files_can_be_skipped(addkit: Cli, words: list[Any], photos: Path) -> None:
    (photos / "red" / "notes.txt").write_text("not an image")
    _cut(photos / "blue" / "03.png")
    said = addkit(*words, "--set", "data.bad_files=skip")
    assert said.code == 0, said.err
    warned = [line for line in said.err.splitlines() if line.startswith("warning: left out ")]
    assert any(line.startswith("warning: left out photos/red/notes.txt: ") for line in warned)
    assert any(line.startswith("warning: left out photos/blue/03.png: ") for line in warned)
    # Once, although the control reads them again.
    assert len(warned) == len({line.split(": ")[1] for line in warned}) == 2
    assert Run(Path("run")).finished


@pytest.mark.usefixtures("photos")
def test_a_dry_run_of_a_folder(addkit: Cli, words: list[Any]) -> None:
    told = addkit(*words, "--dry-run").json
    assert told["splits"] == {"train": 30, "test": 6}
    assert told["classes"] == 3
    assert told["class_counts"] == {"": dict.fromkeys(COLOURS, 10)}
    assert told["left_out"] == ""
    assert "photos" in told["files"]
    assert [path.name for path in Path().iterdir()] == ["photos"]


def test_a_mistyped_root_is_guessed(addkit: Cli, words: list[Any], photos: Path) -> None:
    said = addkit(*words, "--set", "data.root=fotos")
    assert (said.code, said.err) == (
        1,
        "error: data.root: fotos does not exist. Did you mean photos?\n"
        "error: Name the folder of your images: --set data.root=FOLDER.\n",
    )


@pytest.fixture
def stopped(addkit: Cli, words: list[Any], photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The photos of a run that was interrupted after its first step."""

    def stop(self: LiveView, trainer: Trainer, report: StepReport) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LiveView, "step", stop)
        assert addkit(*words).code == 130
    return photos


def test_a_run_goes_on_where_its_data_lie_now(addkit: Cli, words: list[Any], stopped: Path) -> None:
    stopped.rename("moved")
    changes = ["--set", "data.root=moved", "--set", "distributed.workers=1"]
    said = addkit(*words, "--resume", *changes)
    assert said.code == 0, said.err
    assert said.err.splitlines()[0] == (
        "run: resumes although data.root was 'photos' and is 'moved', "
        "distributed.workers was 0 and is 1"
    )
    for run in (Run(Path("run")), Run(Path("run/controls/linear"))):
        assert str(run.recipe().choices["data"].config.root) == "moved"
        assert run.recipe().distributed.workers == 1
        assert all(file.parts[0] == "moved" for file in run.facts().files)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("rename", r"class_names was ('blue', 'green', 'red') and is ('blue', 'green', 'rot')"),
        ("remove", r"split_sizes was {'test': 6, 'train': 30} and is {'test': 6, 'train': 29}"),
        ("add", "num_classes was 3 and is 4"),
    ],
)
def test_a_run_does_not_go_on_with_other_data(
    addkit: Cli, words: list[Any], stopped: Path, change: str, named: str
) -> None:
    moved = stopped.rename("moved")
    if change == "rename":
        (moved / "red").rename(moved / "rot")
    elif change == "remove":
        (moved / "red" / "05.png").unlink()
    else:
        shutil.copytree(moved / "red", moved / "rot")
    said = addkit(*words, "--resume", "--set", "data.root=moved")
    assert said.code == 1
    assert said.err.startswith("error: run: the data have changed")
    assert named in said.err
    assert "--fresh" in said.err
    assert str(Run(Path("run")).recipe().choices["data"].config.root) == "photos"


def test_what_decides_the_result_may_not_change_with_the_place(
    addkit: Cli, words: list[Any], stopped: Path
) -> None:
    changes = ["--set", "data.root=moved", "--set", "training.clip_norm=4"]
    said = addkit(*words, "--resume", *changes)
    assert said.code == 1
    assert "training.clip_norm was 3.0 and is 4.0; continue the run as it is" in said.err


def test_one_picture_of_each_class_trains_and_measures_nothing(
    addkit: Cli, words: list[Any], photos: Path
) -> None:
    for path in photos.rglob("*.png"):
        if path.name != "00.png":
            path.unlink()
    said = addkit(*words, "--set", "data.validation=0.2", "--set", "checkpoints.use=best")
    assert said.code == 0, said.err
    assert (said.json["top1"], said.json["scores"]) == (None, {})
    assert "batch_size 8 is lowered to 1" in said.err
    assert all(f"hold out a {split} split" in said.err for split in ("test", "validation"))
    assert addkit("train", "run", "--resume", "--json").json["top1"] is None
    said = addkit("evaluate", "--run", "run")
    assert (said.code, '"test"' in said.err) == (1, True)
    assert addkit("sample", photos / "red" / "00.png", "--run", "run").code == 0
    assert addkit("runs", "list", "--json", "--root", ".").json[0]["score"] is None
    assert "no test split" in addkit("report", "run").err
