from __future__ import annotations

import io
import sys

import pytest

from addkit.cli import output
from addkit.cli.spinner import CLEAR, QUIET_FOR, Spinner


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def _screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A terminal as stderr. No fixture: pytest sets its own streams between set-up and test."""
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", output._Stream(screen, needed=False))
    for name in ("CI", "TERM", "_ADDKIT_COMPLETE"):
        monkeypatch.delenv(name, raising=False)
    return screen


def test_the_line_appears_once_nothing_was_printed_for_a_while() -> None:
    screen = Screen()
    spinner = Spinner(screen, "addkit train")
    now = spinner._began
    spinner.draw(now + QUIET_FOR / 2)
    assert screen.getvalue() == ""
    spinner.draw(now + 2)
    assert screen.getvalue() == f"{CLEAR}| addkit train, 2 s"
    spinner.print(screen, "half")
    assert screen.getvalue().endswith(f", 2 s{CLEAR}half")
    # Behind half a line it would overwrite it.
    spinner.draw(now + 1e6)
    assert screen.getvalue().endswith("half")
    spinner.print(screen, " and half\n")
    spinner.draw(now + 1e6)
    assert "/ addkit train" in screen.getvalue()
    spinner.stop()
    assert screen.getvalue().endswith(CLEAR)
    spinner.draw(now + 2e6)
    assert screen.getvalue().endswith(CLEAR)


def test_what_goes_elsewhere_erases_the_line_first() -> None:
    screen, pipe = Screen(), io.StringIO()
    spinner = Spinner(screen, "addkit sample")
    spinner.draw(spinner._began + 2)
    spinner.print(pipe, "[")
    assert pipe.getvalue() == "["
    assert screen.getvalue().endswith(CLEAR)


def test_a_terminal_that_has_gone_is_no_error() -> None:
    screen = Screen()
    spinner = Spinner(screen, "addkit train")
    screen.close()
    spinner.draw(spinner._began + 2)
    spinner.stop()


def test_output_passes_the_spinner(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _screen(monkeypatch)
    with output.spinning(["runs", "list", "--root", "x"]):
        assert output._spinner is not None
        output._spinner.draw(output._spinner._began + 2)
        assert screen.getvalue().endswith("| addkit runs list, 2 s")
        sys.stderr.write("a line\n")
        assert CLEAR + "a line" in screen.getvalue()
    assert output._spinner is None


@pytest.mark.parametrize("words", [[], ["runs", "list", "--json"], ["sample", "--jsonl"], ["-q"]])
def test_programs_and_quiet_users_get_none(
    monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    _screen(monkeypatch)
    with output.spinning(words):
        assert output._spinner is None


def test_a_pipe_and_a_completion_get_none(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _screen(monkeypatch)
    monkeypatch.setenv("_ADDKIT_COMPLETE", "complete_bash")
    with output.spinning(["train"]):
        assert output._spinner is None
    monkeypatch.delenv("_ADDKIT_COMPLETE")
    monkeypatch.setattr(screen, "isatty", lambda: False)
    with output.spinning(["train"]):
        assert output._spinner is None
