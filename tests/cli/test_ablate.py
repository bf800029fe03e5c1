"""`addkit ablate`, its trainings in this process."""

from __future__ import annotations

import importlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from addkit.ablation.worker import Task, work
from addkit.cli.ablate import AXES
from addkit.plugin.spec import KINDS

Cli = Callable[..., Any]
SMALL = (
    *("--set", "encoder.widths=[8, 16]", "--set", "encoder.blocks=1", "--set", "denoiser.width=16"),
    *("--set", "training.epochs=1", "--set", "training.warmup_epochs=0.2"),
)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No workers."""

    def execute(tasks: Mapping[str, Task], jobs: int, view: Any) -> dict[str, str]:
        for name, task in tasks.items():
            view.begin(name)
            work(task)
            view.end(name, None)
        return {}

    monkeypatch.setattr(importlib.import_module("addkit.ablation.ablate"), "execute", execute)


def test_every_kind_but_task_and_data_is_an_option() -> None:
    # Data are given, and a tracker changes no result.
    kinds = {f"{kind.kind}.name" for kind in KINDS if kind.kind not in ("task", "data", "tracker")}
    assert kinds == {key for key in AXES.values() if key.endswith(".name")}


def test_with_nothing_else_it_takes_the_digits(addkit: Cli) -> None:
    told = addkit("ablate", "--loss", "mse", "--dry-run", "--json").json
    assert told["train_runs"] == 6
    assert [arm["name"] for arm in told["arms"]] == ["base", "loss mse"]
    assert told["arms"][1]["changes"] == {
        "loss.name": "mse",
        "loss.label_smoothing": None,
        "loss.class_weights": None,
    }
    assert told["shared"] == ["denoiser.bayes_skip=false"]


def test_a_table_of_two_rows(addkit: Cli, tmp_path: Path) -> None:
    said = addkit("ablate", "--loss", "mse", "--seeds", "2", *SMALL)
    assert said.code == 0
    head, base, mse, *_ = said.out.splitlines()
    assert head.split()[:4] == ["arm", "seeds", "top-1", "%"]
    assert base.split()[:2] == ["base", "2"]
    assert mse.startswith("loss mse")
    assert "needs 3 seeds" in mse
    assert "denoiser.bayes_skip=false" in said.out
    assert "loss.label_smoothing = -" in said.out
    assert "4 of 4 trainings run now" in said.out
    again = addkit("ablate", "--loss", "mse", "--seeds", "2", *SMALL)
    assert "0 of 4 trainings run now" in again.out
    assert again.out.splitlines()[:3] == [head, base, mse]
    folder = next((tmp_path / "runs" / "ablations").glob("digits-*"))
    page = addkit("report", folder)
    assert page.code == 0


def test_the_agreed_keys(addkit: Cli) -> None:
    told = addkit(
        *("ablate", "--seeds", "1", "--steps", "2,3", "--read-out", "last", "--grid"),
        *("--json", *SMALL),
    ).json
    assert (told["train_runs"], [arm["train_runs"] for arm in told["arms"]]) == (1, [0, 0])
    agreed = {
        *("changes", "seeds", "metric", "mean", "difference", "low", "high", "verdict"),
        "train_runs",
    }
    assert all(agreed <= set(arm) for arm in told["arms"])
    assert told["arms"][1]["changes"] == {"read_out.name": "last", "sampling.steps": 3}
    assert told["arms"][0]["name"] == "read_out last, steps 2"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--axis", "schedule"], '--axis "schedule": write TABLE.KEY=VALUE,VALUE, such as'),
        (["--axis", "scale=1,2"], '--axis "scale=1,2": write TABLE.KEY=VALUE,VALUE, such as'),
        (["--loss", "ce"], "nothing to compare: every arm is the recipe itself"),
        ([], "nothing to compare"),
        (["nowhere.toml", "--loss", "mse"], "nowhere.toml"),
    ],
)
def test_refusals(addkit: Cli, words: list[str], text: str) -> None:
    said = addkit("ablate", *words)
    assert said.code == 2
    assert text in said.err
    assert said.out == ""


def test_misspelt_values_are_refused_before_anything_is_trained(
    addkit: Cli, tmp_path: Path
) -> None:
    said = addkit("ablate", "--loss", "mes,mse", "--controls", "linear", "--guidance", "abc")
    assert said.code == 2
    assert 'did you mean "mse"?' in said.err
    assert "guidance" in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_tells_what_is_done(addkit: Cli) -> None:
    words = ["ablate", "--loss", "weighted-ce", "--seeds", "1", *SMALL]
    said = addkit(*words, "--dry-run")
    assert 'loss.name = "weighted-ce"' in said.out
    assert "seeds 0; trainings: 2, of them done: 0" in said.out
    told = addkit(*words, "--json").json
    assert told["command"].startswith("addkit ablate --loss weighted-ce --seeds 1 --set")
    assert "trainings: 2, of them done: 2" in addkit(*words, "--dry-run").out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal(addkit: Cli, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def stop(*_: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(5)

    monkeypatch.setattr(importlib.import_module("addkit.ablation.ablate"), "execute", stop)
    said = addkit("ablate", "--loss", "weighted-ce", "--seeds", "1", *SMALL)
    assert said.code == 128 + number
    assert "same command" in said.err


@pytest.mark.parametrize(
    "words",
    [
        ["digits", "--loss", "mse"],
        ["--loss", "mse", "digits"],
        ["--loss", "mse,mse-noise", "digits", "--seeds", "1"],
        ["--guidance", "1,2", "digits"],
        ["--axis", "schedule.scale=1,2", "digits"],
        ["--set", "training.epochs=1", "digits", "--loss", "mse"],
    ],
)
def test_a_recipe_s_name_stands_anywhere(addkit: Any, words: list[str]) -> None:
    told = addkit("ablate", *words, "--dry-run", "--json")
    assert told.code == 0, told.err
    first = addkit("ablate", "digits", *(w for w in words if w != "digits"), "--dry-run", "--json")
    assert told.json == first.json
