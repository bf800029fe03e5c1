"""Laws of schedules, training times and samplers."""

from __future__ import annotations

import torch

from addkit.diffusion import ChainSettings
from addkit.testing.fakes import network_of, process_for, steps_of
from addkit.testing.fixed_inputs import generator
from addkit.testing.small_problem import IMAGES, Bench, Law, SkippedError, need, shaped
from addkit.to_one.argmax import ArgMax

STARTS = ("noise", "zero")
CARRY_SLACK = 1e-6


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
    """T rises with u from 0 to 1, also after it has learnt."""
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
        at = torch.linspace(0.01, 0.99, 99)
        built.learn(at, at.square(), torch.ones(99))


def carries_a_share(bench: Bench) -> None:
    """The carried share r lies in [0, 1], has the shape of m, and is 0 if no state is carried."""
    built = bench.build()
    m_t = torch.linspace(0, 20, 21).view(1, 1, 21)
    for factor in (1.0, 1.5, 100.0):
        r = built.carry(m_t, m_t * factor + 1e-3)
        shaped("r", r, (1, 1, 21))
        low, high = float(r.min()), float(r.max())
        good = low >= 0 and high <= 1 + CARRY_SLACK
        need(good, f"r goes from {low:.4g} to {high:.4g} for m_s = {factor:g} m_t")
        if not built.carries_state:
            need(high == 0, f"carries_state is False, and r reaches {high:.4g}")


def tells_its_way(bench: Bench) -> None:
    """`start` is "noise" or "zero", and abilities and `order` agree."""
    built = bench.build()
    need(built.start in STARTS, f"start is {built.start!r}")
    if "shared-time" in bench.provides:
        need(built.order is None, 'it provides "shared-time" and has an order')
    if "ordered" in bench.provides:
        need(built.order is not None, 'it provides "ordered" and has no order')
    need(built.draws == ("draws" in bench.provides), f'draws is {built.draws}; provide "draws"')


def ranks_every_token(bench: Bench) -> None:
    """`order` gives a finite rank to each token, (B, R, N)."""
    built = bench.build()
    if built.order is None:
        raise SkippedError("all tokens follow one time")
    step = next(steps_of(bench))
    rank = built.order(step.logits, step.clean.ids, generator())
    shaped("the rank", rank.float(), tuple(step.clean.ids.shape))


def walks_a_chain(bench: Bench) -> None:
    """A chain of three steps ends at labels below K with finite logits."""
    built, problem = bench.build(), bench.problem
    process = process_for(bench.provides)
    network = network_of(process, problem.num_classes, 3)
    condition = bench.normal(IMAGES, 4, 16)
    settings = ChainSettings(steps=3, chains=2)
    taken = 0
    for step in process.chain(network, condition, built, ArgMax(), settings, generator()):
        shape = (IMAGES, step.clean.ids.shape[1], 3)
        shaped("the logits", step.logits, (*shape, problem.num_classes))
        taken += 1
    need(taken > 0, "the chain takes no step")


SCHEDULE: tuple[Law, ...] = (
    keeps_the_shape_of_t,
    stays_between_0_and_1,
    never_rises,
    begins_clean_and_ends_in_noise,
    has_a_scale_and_a_power,
)
TIMES: tuple[Law, ...] = (maps_0_to_0_and_1_to_1,)
SAMPLER: tuple[Law, ...] = (carries_a_share, tells_its_way, ranks_every_token, walks_a_chain)
