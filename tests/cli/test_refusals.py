from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]

CLASS_TOKEN = ("[conditioner] [encoder]", '"cnn"', '"mean-token"', '"vit"')
SKIP = ("[loss]", "[denoiser] bayes_skip", "bayes_skip = false")
NO_STATE = ("[loss] [denoiser]", '"control"', "cannot predict its noise")
ONE_PASS = ("[loss] [read_out]", '"one-pass"', 'read_out.name = "last"')
MANY = ("[denoiser] [conditioner]", '"all-tokens"', '"mean-token"')

ONE_LABEL = (
    ("[process] [denoiser]", '"mlp"', '"joint"', '"transformer"'),
    ("[process] [denoiser] bayes_skip", "false"),
)
RENOISE = ("[process] [sampler]", '"renoise"', '"autoregressive"', "left-to-right")
NO_BEAM = ("[process] [sampler]", '"beam"', '"gaussian"', "ordered or shared-time")
CAPTIONS = (
    ("[task] [data]", '"digits"', "captions"),
    ("[task] [denoiser]", '"mlp"', '"transformer"'),
    ("[task] [tokenizer]", '"none"', '"words"'),
)
MASKS = ("[embedding]", '[process] "gaussian"', '"clean-or-noise"', '"posterior"')

TOGETHER = [
    ('[conditioner]\nname = "class-token"', [(3, CLASS_TOKEN)]),
    ('[loss]\nname = "mse"', [(3, SKIP)]),
    ('[loss]\nname = "mse-noise"\n[read_out]\nname = "last"', [(3, SKIP)]),
    (
        '[loss]\nname = "mse-noise"\n[denoiser]\nname = "control"\n[read_out]\nname = "last"',
        [(3, NO_STATE)],
    ),
    ('[loss]\nname = "mse-noise"\n[denoiser]\nbayes_skip = false', [(3, ONE_PASS)]),
    ('[loss]\nname = "mse-noise"\n[denoiser]\nname = "control"', [(3, NO_STATE), (3, ONE_PASS)]),
    ('[conditioner]\nname = "all-tokens"\n[denoiser]\nname = "mlp"', [(5, MANY)]),
    ('[conditioner]\nname = "all-tokens"\n[denoiser]\nname = "control"', [(5, MANY)]),
    (
        '[process]\nname = "autoregressive"\n[embedding]\nname = "token"',
        [(3, RENOISE), *((3, reason) for reason in ONE_LABEL)],
    ),
    ('[process]\nname = "gaussian"\n[sampler]\nname = "beam"', [(3, NO_BEAM)]),
    ('[task]\nname = "captioning"', [(3, reason) for reason in CAPTIONS]),
    ('[embedding]\nname = "token"', [(3, MASKS)]),
]


@pytest.fixture
def recipe(tmp_path: Path, recipes: Path) -> Callable[[str], Path]:
    """x.toml: digits.toml with this text."""

    def write(text: str) -> Path:
        (tmp_path / "x.toml").write_text(f'extends = "{recipes}/digits.toml"\n{text}')
        return Path("x.toml")

    return write


@pytest.mark.parametrize(("text", "reasons"), TOGETHER)
def test_what_cannot_go_together(
    addkit: Cli, recipe: Callable[[str], Path], text: str, reasons: list[tuple[int, Any]]
) -> None:
    said = addkit("train", recipe(text), "--dry-run")
    assert said.code == 2
    lines = said.err.splitlines()
    assert len(lines) == len(reasons)
    for found, (line, fragments) in zip(lines, reasons, strict=True):
        assert found.startswith(f"error: x.toml:{line}: {fragments[0]}")
        assert all(fragment in found for fragment in fragments)
    assert said.out == ""


WITH = [
    '[conditioner]\nname = "all-tokens"\n[denoiser]\nname = "transformer"\nheads = 4\nwidth = 64',
    '[loss]\nname = "mse"\n[denoiser]\nbayes_skip = false',
    '[loss]\nname = "mse-noise"\n[denoiser]\nbayes_skip = false\n[read_out]\nname = "last"',
    '[schedule]\nname = "label-accuracy"',
    '[sampler]\nname = "gibbs"\n[read_out]\nname = "vote"',
    '[denoiser]\nname = "control"\nhead = "mlp"',
]


@pytest.mark.parametrize("text", WITH)
def test_what_can_go_together(addkit: Cli, recipe: Callable[[str], Path], text: str) -> None:
    said = addkit("train", recipe(text), "--dry-run", "--json")
    assert (said.code, said.err) == (0, "")
    assert said.json["parameters"]["total"] > 0


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[schedule]\nofset = 1", '3: [schedule] unknown key "ofset" (did you mean "offset"?).'),
        ('[loss]\nname = "cee"', '3: [loss] no loss is called "cee" (did you mean "ce"?).'),
        ("[training]\nreuse = 0", "3: [training] reuse must be at least 1, found 0."),
        ("[lose]\nx = 1", '2: unknown table "lose" (did you mean "loss"?)'),
        ("[loss", "2: not valid TOML: "),
    ],
)
def test_recipe_errors(addkit: Cli, recipe: Callable[[str], Path], text: str, error: str) -> None:
    said = addkit("train", recipe(text))
    assert said.code == 2
    assert said.err.startswith(f"error: x.toml:{error}")
    assert "Traceback" not in said.err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--set", "training.epoch=1"], "error: --set training.epoch=1: [training] unknown key"),
        (["--set", "training.epochs"], "error: --set training.epochs: an override is written"),
        (["--set", "training.lr=1e"], 'error: --set training.lr=1e: "1e" is not a TOML value.'),
        (
            ["--resume", "--fresh"],
            "error: --resume continues a run and --fresh starts anew; give one",
        ),
    ],
)
def test_errors_of_the_command_line(
    addkit: Cli, recipes: Path, words: list[str], error: str
) -> None:
    said = addkit("train", recipes / "digits.toml", *words)
    assert said.code == 2
    assert said.err.startswith(error)
    assert list(Path().iterdir()) == []


def test_several_errors_have_a_line_each(addkit: Cli, recipe: Callable[[str], Path]) -> None:
    said = addkit("train", recipe("seed = -1\n[loss]\nnme = 1"))
    assert said.code == 2
    lines = said.err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error: x.toml:") for line in lines)


def test_a_missing_recipe_is_guessed(addkit: Cli, recipe: Callable[[str], Path]) -> None:
    recipe("")
    said = addkit("train", "y.toml")
    assert (said.code, said.err) == (
        2,
        'error: y.toml: no such file (did you mean "x.toml"?).\n',
    )


def test_words_that_typer_refuses(addkit: Cli) -> None:
    assert addkit("trian").code == 2
    assert addkit("train").code == 2
    assert addkit("sample").code == 2
    assert addkit("sample", "x.png", "--steps", "0").code == 2
    assert addkit("sample", "x.png", "--seed", "-1").code == 2
    assert addkit("evaluate", "--chains", "x").code == 2


@pytest.mark.parametrize(
    "words",
    [
        *(f"sample x.png --{name} inf" for name in ("guidance", "steps", "chains", "seed", "top")),
        *("sample x.png --guidance nan", "sample x.png --steps 100000000000"),
        *("sample x.png --chains 10000", f"sample x.png --seed {2**64}"),
        *(
            "evaluate --steps 5,100000000000",
            "evaluate --guidance 1,inf",
            "evaluate --chains 10000",
        ),
        *("evaluate --early-exit -1", f"evaluate --seed {2**64}"),
        *("train digits --dry-run --images-per-second inf", "ablate digits --seeds 100000000000"),
        *("train digits --dry-run --processes 100000000000", "ablate digits --jobs 100000000000"),
        *("schedule show --classes 100000000000", "data shard digits out --jobs 1000"),
    ],
)
def test_numbers_out_of_range(addkit: Cli, digits_run: Path, digit_images: Any, words: str) -> None:
    shutil.copy(digit_images[0], "x.png")
    command, *rest = words.split()
    run = ["--run", digits_run] if command in ("sample", "evaluate") else []
    said = addkit(command, *rest, *run)
    assert said.code == 2
    assert "fault of addkit" not in said.err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            "training.batch_size=63",
            "batch_size 63 is no multiple of 1 process x 32 images; "
            "change training.batch_size, distributed.per_process_batch or --processes",
        ),
        (
            "distributed.per_process_batch=24",
            "batch_size 64 is no multiple of 1 process x 24 images; "
            "change training.batch_size, distributed.per_process_batch or --processes",
        ),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_batches_that_do_not_fit(
    addkit: Cli, recipes: Path, change: str, error: str, dry: bool
) -> None:
    path = recipes / "digits.toml"
    said = addkit("train", path, "--set", change, *(["--dry-run"] if dry else []))
    assert said.code == 2
    line = said.err.splitlines()[-1]
    assert line.startswith((f"error: --set {change}: ", f"error: {path}:20: "))
    assert line.endswith(f": [training] {error}")
    assert not list(Path().glob("runs/*"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            'control.heads=["linear", "masked"]',
            '[control] heads: "masked" is no control of the task "classification"; '
            "allowed: linear, mlp",
        ),
        (
            "sampling.steps=auto",
            '[sampling] steps = "auto" chooses on a validation split, and the data has none; '
            "set data.validation above 0, or steps to a number",
        ),
    ],
)
@pytest.mark.parametrize("words", [["--dry-run"], [], ["--run-dir", "r", "--fresh"]])
def test_what_a_training_could_not_end_with(
    addkit: Cli, recipes: Path, digits_run: Path, change: str, error: str, words: list[str]
) -> None:
    if "--fresh" in words:
        shutil.copytree(digits_run, "r")
    before = sorted(Path().rglob("*"))
    path = recipes / "digits.toml"
    said = addkit("train", path, "--set", change, *words)
    assert (said.code, said.err) == (2, f"error: --set {change}: {error}\n")
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("dry", [True, False])
def test_processes_that_do_not_fit(addkit: Cli, recipes: Path, dry: bool) -> None:
    """Before any of them is started."""
    path = recipes / "digits.toml"
    said = addkit("train", path, "--processes", "3", *(["--dry-run"] if dry else []))
    assert said.code == 2
    assert said.err.splitlines()[-1] == (
        f"error: {path}:20: [training] batch_size 64 is no multiple of 3 processes x 21 images; "
        "change training.batch_size, distributed.per_process_batch or --processes"
    )
    assert not list(Path().glob("runs/*"))


@pytest.mark.parametrize("words", [["--fresh"], []])
def test_missing_data_leaves_nothing_behind(addkit: Cli, recipes: Path, words: list[str]) -> None:
    said = addkit("train", recipes / "image-folder-small.toml", "--run-dir", "r", *words)
    assert said.code == 1
    assert said.err.startswith("error: data.root: data/images does not exist")
    assert list(Path().iterdir()) == []


def test_a_run_is_not_overwritten(addkit: Cli, recipes: Path, digits_run: Path) -> None:
    said = addkit("train", recipes / "digits.toml", "--run-dir", digits_run)
    assert said.code == 2
    assert said.err.startswith(f"error: {digits_run}: ")
    assert "--resume" in said.err
    assert "--fresh" in said.err


def test_other_files_are_not_overwritten(addkit: Cli, recipes: Path) -> None:
    folder = Path("photos")
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"x")
    for words in ([], ["--fresh"], ["--resume"]):
        said = addkit("train", recipes / "digits.toml", "--run-dir", folder, *words)
        assert said.code == 2
        assert said.err.startswith("error: photos: ")
        assert "choose another folder" in said.err
    assert [file.name for file in folder.iterdir()] == ["a.jpg"]


def test_a_file_is_no_run_folder(addkit: Cli, recipes: Path) -> None:
    Path("file").write_text("x")
    said = addkit("train", recipes / "digits.toml", "--run-dir", "file")
    assert (said.code, said.err) == (2, "error: file: is a file; choose another folder\n")


def test_resume_names_what_changed(addkit: Cli, digits_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(digits_run, run)
    recipe = run / "recipe.toml"
    changes = ["--set", "training.epochs=7", "--set", "loss.name=weighted-ce"]
    said = addkit("train", recipe, "--run-dir", run, "--resume", *changes)
    assert said.code == 1
    assert f"error: {run}: " in said.err
    assert "loss.name was 'ce' and is 'weighted-ce' (and 2 more)" in said.err
    assert f"`addkit train {run} --resume`" in said.err
    said = addkit("train", recipe, "--run-dir", run, "--resume", "--set", "seed=5")
    assert "seed was 0 and is 5; continue the run as it is" in said.err


def test_nothing_to_resume(addkit: Cli, recipes: Path) -> None:
    said = addkit("train", recipes / "digits.toml", "--resume")
    assert said.code == 1
    assert said.err.startswith("error: no unfinished run of recipe digits in runs/; ")


def test_a_fault_is_called_a_fault(
    addkit: Cli, recipes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by [red]zero")

    monkeypatch.setattr("addkit.recipe.read_recipe", broken)
    said = addkit("train", recipes / "digits.toml")
    assert said.code == 1
    assert said.err == (
        "error: ZeroDivisionError: by [red]zero\n"
        "error: This is a fault of addkit's; ADDKIT_DEBUG=1 shows where.\n"
    )
    monkeypatch.setenv("ADDKIT_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        addkit("train", recipes / "digits.toml")


def test_json_errors_leave_stdout_empty(addkit: Cli, recipes: Path) -> None:
    for words in (
        ["train", recipes / "digits.toml", "--json", "--set", "seed=-1"],
        ["sample", "no.png", "--json"],
        ["evaluate", "--json"],
    ):
        said = addkit(*words)
        assert said.code in (1, 2)
        assert said.out == ""
        with pytest.raises(json.JSONDecodeError):
            _ = said.json
