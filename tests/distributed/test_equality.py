"""However many processes share a global batch, they compute the same; and what they exchange."""

from __future__ import annotations

from typing import Any

import pytest
import torch

Told = dict[tuple[str, int], dict[str, Any]]


@pytest.mark.parametrize("kind", ["ddp", "warped", "captions"])
def test_one_process_with_two_micro_batches_and_two_with_one_take_the_same_bits(
    told: Told, kind: str
) -> None:
    """A sum of two is the same either way round."""
    one, pair = told[f"{kind}-1", 0], [told[f"{kind}-2", rank] for rank in (0, 1)]
    for key in ("loss", "norm", "real", "pads"):
        assert one[key] == pair[0][key] == pair[1][key]
    assert one["state"].keys() == pair[0]["state"].keys()
    assert all(torch.equal(one["state"][name], x) for name, x in pair[0]["state"].items())
    assert len(set(one["loss"])) > 5


def test_each_process_scores_its_share_and_all_know_the_whole(told: Told) -> None:
    scores = told["ddp-1", 0]["scores"]
    assert set(scores) == {"ema", "raw"}
    assert told["ddp-2", 0]["scores"] == told["ddp-2", 1]["scores"]
    for weights, values in told["ddp-2", 0]["scores"].items():
        assert values == pytest.approx(scores[weights], rel=1e-6)


def test_processes_stop_early_together_and_load_the_same_best_weights(told: Told) -> None:
    one, pair = told["stop-early-1", 0], [told["stop-early-2", rank] for rank in (0, 1)]
    assert pair[0] == pair[1]
    assert (pair[0]["best"], pair[0]["steps"]) == (one["best"], one["steps"]) == (15, 30)
    values = [line["top1"] for line in pair[0]["lines"]]
    assert values[0] > values[1]
    assert values == pytest.approx([line["top1"] for line in one["lines"]])
    assert pair[0]["scores"]["raw"]["top1"] == pytest.approx(values[0])


@pytest.mark.parametrize("processes", [2, 4])
def test_four_micro_batches_are_the_same_within_rounding(told: Told, processes: int) -> None:
    one, several = told["quarters-1", 0], told[f"quarters-{processes}", 0]
    assert several["loss"][0] == pytest.approx(one["loss"][0], rel=1e-6)
    assert several["loss"] == pytest.approx(one["loss"], rel=1e-5)
    assert several["norm"] == pytest.approx(one["norm"], rel=1e-4)
    for name, tensor in one["state"].items():
        if "running" in name:
            torch.testing.assert_close(several["state"][name], tensor, atol=1e-5, rtol=1e-5)


def test_shares_of_a_network_learn_what_the_whole_does(told: Told) -> None:
    """Only the gradient's norm is summed in another order."""
    one, pair = told["fsdp-1", 0], [told["fsdp-2", rank] for rank in (0, 1)]
    assert pair[0]["loss"] == pair[1]["loss"]
    assert pair[0]["loss"] == pytest.approx(one["loss"], rel=1e-5)
    assert pair[0]["scores"] == pair[1]["scores"]
    weights = [name for name in one["state"] if name.startswith(("raw", "ema"))]
    assert set(weights) == set(pair[0]["state"])
    for name in weights:
        torch.testing.assert_close(
            pair[0]["state"][name].float(), one["state"][name].float(), atol=1e-4, rtol=1e-4
        )


def test_pads_differ_between_the_micro_batches_of_captions(told: Told) -> None:
    """Else the global count of targets would not be looked at."""
    seen = told["captions-1", 0]
    assert len(set(seen["pads"])) == len(seen["pads"])
    assert all(real != pads for real, pads in zip(seen["real"], seen["pads"], strict=True))


@pytest.mark.parametrize("way", ["ddp-2-to-1", "ddp-1-to-2"])
def test_another_number_of_processes_goes_on_to_the_same_bits(told: Told, way: str) -> None:
    whole, again = told["ddp-1", 0], told[way, 0]
    assert (again["begin"], len(again["loss"])) == (10, 11)
    assert again["loss"] == whole["loss"][10:]
    assert all(torch.equal(again["state"][name], x) for name, x in whole["state"].items())


@pytest.mark.parametrize(("way", "like"), [("fsdp-2-to-1", "fsdp-2"), ("fsdp-1-to-2", "fsdp-1")])
def test_another_number_of_shares_goes_on_likewise(told: Told, way: str, like: str) -> None:
    again, whole = told[way, 0]["loss"], told[like, 0]["loss"][10:]
    assert told[way, 0]["begin"] == 10
    assert again == pytest.approx(whole, rel=1e-5)


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
