from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from addkit.cli import schedule as command
from addkit.cli.schedule import schedule
from addkit.errors import AddkitError, UsageError

app = typer.Typer(rich_markup_mode=None)
app.add_typer(schedule, name="schedule")


def _call(words: str) -> Any:
    return CliRunner().invoke(app, ["schedule", "show", *words.split()])


@pytest.mark.parametrize("scales", ["--scale 1,2", "--scale=1,2", "--scale 1 --scale 2"])
def test_shows_each_schedule_at_each_scale(scales: str) -> None:
    told = _call(f"cosine linear --classes 1000 {scales}")
    assert told.exit_code == 0
    for title in ("cosine, b = 1", "cosine, b = 2", "linear, b = 1", "linear, b = 2"):
        assert f"{title}: " in told.output
    assert "P(arg max)" in told.output
    rows = [line.split() for line in told.output.splitlines() if line.startswith("0.5")]
    assert len(rows) == 4
    assert rows[0][1:4] == ["0.4938", "-0.02", "0.0161"]


def test_json_holds_every_number(addkit_json) -> None:
    told = addkit_json("cosine --classes 10")
    assert told["classes"] == 10
    assert told["suggested"] == []
    (one,) = told["schedules"]
    assert (one["schedule"], one["scale"]) == ("cosine", 1.0)
    assert one["informative_share"] == pytest.approx(0.53, abs=0.01)
    names = ("t", "alpha_bar", "log_snr", "p_arg_max", "bits")
    assert {len(one[name]) for name in names} == {101}
    assert one["p_arg_max"][-1] == pytest.approx(0.1, abs=1e-6)
    assert one["bits"][0] == pytest.approx(math.log2(10), abs=1e-6)


def test_no_signal_has_no_log_snr_in_json(addkit_json) -> None:
    (one,) = addkit_json("label-accuracy")["schedules"]
    assert one["log_snr"][-1] is None
    assert one["log_snr"][50] > 0


def test_suggests(monkeypatch, addkit_json) -> None:
    from addkit.schedules import suggest as suggesting

    found = [
        suggesting.Suggestion("label-accuracy", 1.0, 0.8),
        suggesting.Suggestion("linear", 4, 0.3),
    ]
    asked = []
    monkeypatch.setattr(suggesting, "suggest", lambda *told: asked.append(told) or found)
    told = addkit_json("linear --suggest")["suggested"]
    addkit_json("linear --suggest --scale 1,4")
    assert asked == [(10, suggesting.SCALES), (10, [1.0, 4.0])]
    assert told[0] == {"schedule": "label-accuracy", "scale": 1.0, "informative_share": 0.8}
    rows = _call("linear --suggest").output.splitlines()
    assert ["label-accuracy", "1", "80.0"] in [line.split() for line in rows]


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_draws(tmp_path: Path, ending: str) -> None:
    picture = tmp_path / f"schedule.{ending}"
    told = _call(f"cosine linear --scale 1,2 -o {picture}")
    assert told.exit_code == 0
    start = picture.read_bytes()[:400]
    assert start.startswith(b"\x89PNG") if ending == "png" else b"<svg" in start


def _refused(words: str, kind: type[AddkitError] = UsageError) -> str:
    error = _call(words).exception
    assert isinstance(error, kind)
    return str(error)


def test_refuses_pictures_it_cannot_draw(tmp_path: Path) -> None:
    assert _refused("cosine -o x.gif") == '--output x.gif: ending ".gif"; known: .png, .svg'
    missing = tmp_path / "none"
    assert _refused(f"cosine -o {missing / 'x.png'}") == (
        f"--output {missing / 'x.png'}: there is no folder {missing}"
    )


def test_refuses_unknown_schedules_and_scales() -> None:
    assert '(did you mean "cosine"?)' in _refused("cosin", AddkitError)
    told = _refused("cosine --scale -1")
    assert told.startswith('schedule "cosine": scale -1: ')
    assert _call("cosine --classes 1").exit_code == 2


def test_bars_have_one_length() -> None:
    assert command._bar(0.5) == "█" * 10 + "░" * 10
    assert {len(command._bar(share / 7)) for share in range(8)} == {20}


@pytest.fixture
def addkit_json():
    import json

    def call(words: str) -> Any:
        told = _call(f"{words} --json")
        assert told.exit_code == 0, told.output
        return json.loads(told.stdout)

    return call
