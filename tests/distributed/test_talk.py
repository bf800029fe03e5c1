"""What processes tell each other."""

from __future__ import annotations

from typing import Any

import torch

Told = dict[tuple[str, int], dict[str, Any]]


def test_every_message_reaches_both(told: Told) -> None:
    first, second = (told["talk", rank] for rank in (0, 1))
    assert first.pop("world") == (0, 2, 0, 2, True)
    assert second.pop("world") == (1, 2, 1, 2, False)
    for seen in (first, second):
        assert seen["told"] == {"from": 0}
        assert seen["gathered"] == ["rank 0", "rank 1"]
        assert torch.equal(seen["sum"], torch.tensor([3.0, 30.0]))
        assert torch.equal(seen["stacked"], torch.tensor([[1.0, 10.0], [2.0, 20.0]]))


def test_a_process_that_has_lost_another_says_so(told: Told) -> None:
    error = told["leave", 0]["error"]
    assert error == "process 0 of 2 has lost another one, which ended; its own error says why"
    assert ("leave", 1) not in told


def test_a_signal_during_an_evaluation_stops_all_of_them_and_saves(told: Told) -> None:
    """Only the second process heard it."""
    first, second = (told["interrupt", rank] for rank in (0, 1))
    assert (first["code"], first["text"]) == (
        143,
        "stopped with another process; saved after step 7; continue with --resume",
    )
    assert (second["code"], second["text"]) == (
        143,
        "stopped by SIGUSR1; saved after step 7; continue with --resume",
    )
    assert first["saved"] == "step-00000007"
