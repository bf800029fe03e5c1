"""Laws of schedules, training times and samplers."""

from __future__ import annotations

import torch
from torch import Tensor

from addkit.plugin.values import FREE, ChainSettings, Clean
from addkit.samplers.blocks import sample
from addkit.testing.fakes import network_of, process_for
from addkit.testing.fixed_inputs import generator
from addkit.testing.small_problem import IMAGES, Bench, Law, SkippedError, need, shaped
from addkit.to_one.operators import ArgMax


def keeps_the_shape_of_t(bench: Bench) -> None:
    """alpha_bar has the shape of t, and is finite."""
    built = bench.build()
    for shape in ((), (5,), (2, 1, 3)):
        shaped(f"alpha_bar of t {shape}", built.alpha_bar(torch.full(shape, 0.3)), shape)


def stays_between_0_and_1(bench: Bench) -> None:
    """alpha_bar lies in [0, 1] for t in [0, 1]."""
    alpha_bar = bench.build().alpha_bar(torch.linspace(0, 1, 1001))
    low, high = float(alpha_bar.min()), float(alpha_bar.max())
    need(low >= 0 and high <= 1, f"alpha_bar goes from {low:.6g} to {high:.6g}")


def never_rises(bench: Bench) -> None:
    """More t is more noise: alpha_bar never rises."""
    t = torch.linspace(0, 1, 1001)
    rise = bench.build().alpha_bar(t).diff()
    # The worst place is reported: one bad interval of a table is found at once.
    worst = int(rise.argmax())
    most = float(rise[worst])
    need(most <= 1e-6, f"alpha_bar rises by {most:.3g} at t = {float(t[worst]):.3f}")


def begins_clean_and_ends_in_noise(bench: Bench) -> None:
    """alpha_bar is above 0.9 at t = 0 and below 0.1 at t = 1."""
    first, last = bench.build().alpha_bar(torch.tensor([0.0, 1.0])).tolist()
    need(first > 0.9, f"alpha_bar is {first:.4g} at t = 0")
    need(last < 0.1, f"alpha_bar is {last:.4g} at t = 1")


def has_a_scale_and_a_power(bench: Bench) -> None:
    """Scale and t_power are above 0."""
    built = bench.build()
    need(built.scale > 0, f"scale is {built.scale!r}")
    need(built.t_power > 0, f"t_power is {built.t_power!r}")


def maps_0_to_0_and_1_to_1(bench: Bench) -> None:
    """The time t rises with u from 0 to 1, also after `learn`."""
    built = bench.build()
    if built is None:
        raise SkippedError("stands for nothing")
    u = torch.linspace(0, 1, 101)
    for when in ("at the start", "after learning"):
        t = built(u)
        shaped(f"t {when}", t, (101,))
        ends = float(t[0]), float(t[-1])
        need(abs(ends[0]) < 1e-5 and abs(ends[1] - 1) < 1e-5, f"{when} t goes from {ends}")
        fall = float(t.diff().min())
        need(fall >= 0, f"{when} t falls by {-fall:.3g}")
        # Losses that differ between times, or an adaptive map would stay as it is.
        at = torch.linspace(0.01, 0.99, 99)
        built.learn(at, at.square(), torch.ones(99))


def walks_a_chain(bench: Bench) -> None:
    """Chains of three steps have finite logits, end at labels below K, and repeat with a seed."""
    built, problem = bench.build(), bench.problem
    network = network_of(process_for(bench.provides), problem.num_classes, 3)
    condition, ends = bench.normal(IMAGES, 4, 16), []
    # Twice, with a fresh generator of the same seed each time.
    for _ in range(2):
        settings = ChainSettings(steps=3, chains=2)
        steps = list(sample(network, condition, built, ArgMax(), settings, generator()))
        need(bool(steps), "the chain takes no step")
        for step in steps:
            # A beam has as many rows as beginnings, not as chains.
            shape = (IMAGES, step.clean.ids.shape[1], 3)
            shaped("the logits", step.logits, (*shape, problem.num_classes))
            shaped("the labels", step.clean.ids, shape)
        most = int(steps[-1].clean.ids.max())
        need(most < problem.num_classes, f"a label is {most}, K is {problem.num_classes}")
        ends.append(steps[-1].logits)
    need(torch.equal(*ends), "the same generator gives two answers")


def keeps_given_labels(bench: Bench) -> None:
    """Given labels are unchanged in the last step."""
    built, problem = bench.build(), bench.problem
    network = network_of(process_for(bench.provides), problem.num_classes, 3)
    # The middle token: any order has a free token on one side of it.
    given = torch.tensor([FREE, 1, FREE]).view(1, 1, 3)
    settings = ChainSettings(steps=3, chains=2, given_labels=given)
    condition = bench.normal(IMAGES, 4, 16)
    *_, last = sample(network, condition, built, ArgMax(), settings, generator())
    kept = last.clean.ids[..., 1] == 1
    need(bool(kept.all()), f"{int((~kept).sum())} of {kept.numel()} given labels became another")


def draws_labels_by_itself(bench: Bench) -> None:
    """A sampler that provides "draws" never calls the to-one operator; any other does."""
    built, problem = bench.build(), bench.problem
    network, calls = network_of(process_for(bench.provides), problem.num_classes, 3), []

    class Counted(ArgMax):
        def __call__(self, logits: Tensor, generator: torch.Generator) -> Clean:
            calls.append(1)
            return super().__call__(logits, generator)

    settings = ChainSettings(steps=3)
    condition = bench.normal(IMAGES, 4, 16)
    *_, last = sample(network, condition, built, Counted(), settings, generator())
    # Scores mark the answers of a search, which takes the best tokens instead.
    if last.scores is not None:
        raise SkippedError("a search draws nothing")
    draws = "draws" in bench.provides
    need(draws != bool(calls), f"the to-one operator was called {len(calls)} times")


SCHEDULE: tuple[Law, ...] = (
    keeps_the_shape_of_t,
    stays_between_0_and_1,
    never_rises,
    begins_clean_and_ends_in_noise,
    has_a_scale_and_a_power,
)
TIMES: tuple[Law, ...] = (maps_0_to_0_and_1_to_1,)
SAMPLER: tuple[Law, ...] = (walks_a_chain, keeps_given_labels, draws_labels_by_itself)
