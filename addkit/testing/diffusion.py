"""Laws of schedules, timesteps, losses, processes, samplers, to-one operators and read-outs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from addkit.diffusion import noised
from addkit.plugin.values import FORBIDDEN, FREE, ChainSettings, Clean, Targets, TimeSettings
from addkit.samplers.blocks import sample
from addkit.testing.fixed_inputs import (
    CHAINS,
    STEPS,
    generator,
    likelihoods_sum_to_one,
    network_of,
    process_for,
    sampler_for,
    steps_of,
)
from addkit.testing.small_problem import IMAGES, Bench, Law, SkippedError, close, need, shaped
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


LEVEL = 0.5
"""alpha_bar at which losses are tried: some of each, signal and noise."""


def gives_a_loss_for_each_row(bench: Bench) -> None:
    """Outputs (B, R, N, K) and labels (B, R, N) give finite losses (B, R, N)."""
    labels = bench.labels()
    outputs = bench.normal(*labels.shape, bench.problem.num_classes)
    losses = bench.build()(outputs, labels, torch.full(labels.shape, LEVEL), outputs)
    shaped("the losses", losses, tuple(labels.shape))


@torch.enable_grad()
def has_finite_gradients(bench: Bench) -> None:
    """Its gradient is finite, also where outputs are confident and wrong."""
    labels = bench.labels()
    # Times 50: at such logits log(softmax(x)) instead of log_softmax(x) gives infinities.
    outputs = bench.normal(*labels.shape, bench.problem.num_classes) * 50
    outputs.requires_grad_(True)
    noise = bench.normal(*labels.shape, bench.problem.num_classes, seed=5)
    bench.build()(outputs, labels, torch.full(labels.shape, LEVEL), noise).sum().backward()
    assert outputs.grad is not None
    bad = int((~outputs.grad.isfinite()).sum())
    need(bad == 0, f"{bad} of {outputs.numel()} gradients are not finite")


def is_least_at_the_truth(bench: Bench) -> None:
    """Outputs that are right cost less than outputs that are wrong."""
    built, labels = bench.build(), bench.labels()
    right, wrong, noise = _truth(bench, labels)
    level = torch.full(labels.shape, LEVEL)
    good, bad = built(right, labels, level, noise), built(wrong, labels, level, noise)
    worse = int((good >= bad).sum())
    need(
        worse == 0,
        f"in {worse} of {good.numel()} rows the truth costs no less: "
        f"{float(good.mean()):.4g} against {float(bad.mean()):.4g} on average",
    )


def ranks_the_label_first(bench: Bench) -> None:
    """`logits` of right outputs are finite, (B, R, N, K), and largest at the label."""
    built, labels = bench.build(), bench.labels()
    right, _, noise = _truth(bench, labels)
    level = torch.full(labels.shape, LEVEL)
    clean = functional.one_hot(labels, bench.problem.num_classes).float()
    y_t = noised(clean, noise, level, bench.problem.scale).y_t
    logits = built.logits(right, y_t, level)
    shaped("the logits", logits, tuple(right.shape))
    missed = int((logits.argmax(-1) != labels).sum())
    need(missed == 0, f"{missed} of {labels.numel()} labels are not the most probable class")


def predicts_label_or_noise(bench: Bench) -> None:
    """`predicts` is "label" or "noise"."""
    predicts = bench.build().predicts
    need(predicts in ("label", "noise"), f"predicts is {predicts!r}")


def _truth(bench: Bench, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Right outputs, wrong ones and the noise, (B, R, N, K), for what the loss predicts."""
    num_classes = bench.problem.num_classes
    noise = bench.normal(*labels.shape, num_classes, seed=5)
    if bench.build().predicts == "noise":
        return noise, -noise, noise
    right = functional.one_hot(labels, num_classes).float()
    wrong = functional.one_hot((labels + 1) % num_classes, num_classes).float()
    return right, wrong, noise


def gives_labels(bench: Bench) -> None:
    """Logits (B, R, N, K) become labels (B, R, N) below K; soft ones sum to 1."""
    labels, num_classes = bench.labels(), bench.problem.num_classes
    clean = bench.build()(bench.normal(*labels.shape, num_classes), generator())
    shaped("the labels", clean.ids, tuple(labels.shape), torch.int64)
    low, high = int(clean.ids.min()), int(clean.ids.max())
    need(low >= 0 and high < num_classes, f"labels go from {low} to {high}, K is {num_classes}")
    if clean.soft is not None:
        shaped("the soft labels", clean.soft, (*labels.shape, num_classes))
        lowest = float(clean.soft.min())
        need(lowest >= 0, f"a soft label has an entry of {lowest:.3g}")
        close("the sum of a soft label and 1", clean.soft.sum(-1), torch.ones(labels.shape))


def follows_what_is_sure(bench: Bench) -> None:
    """A class of probability 1 is the label; a class of probability 0 never is."""
    labels, num_classes = bench.labels(), bench.problem.num_classes
    hot = functional.one_hot(labels, num_classes).bool()
    clean = bench.build()(torch.where(hot, 0.0, FORBIDDEN), generator())
    missed = int((clean.ids != labels).sum())
    need(missed == 0, f"{missed} of {labels.numel()} sure labels became another")


def gives_an_answer(bench: Bench) -> None:
    """Chains become labels (B, N) below K and candidates (B, S, N) with their scores (B, S)."""
    problem = bench.problem
    # Any likelihood of whole answers (B, S, N) -> (B, S) will do.
    answer = bench.build().read(steps_of(bench), _falling)
    shaped("the labels", answer.labels, (IMAGES, problem.num_tokens), torch.int64)
    high = int(answer.labels.max())
    need(high < problem.num_classes, f"a label is {high}, K is {problem.num_classes}")
    count = answer.candidates.shape[1]
    need(count >= 1, "it gives no candidate")
    shaped("the candidates", answer.candidates, (IMAGES, count, problem.num_tokens))
    shaped("the confidence", answer.confidence, (IMAGES, count, problem.num_tokens))
    shaped("the scores", answer.scores, (IMAGES, count))
    most = int(answer.steps.max())
    need(1 <= most <= STEPS, f"it counts {most} steps of {STEPS}")


def gives_probabilities(bench: Bench) -> None:
    """Probabilities and votes are (B, N, K), not below 0, and sum to 1."""
    problem = bench.problem
    answer = bench.build().read(steps_of(bench), _falling)
    shape = (IMAGES, problem.num_tokens, problem.num_classes)
    for what in ("probabilities", "votes"):
        value = getattr(answer, what)
        shaped(f"the {what}", value, shape)
        need(float(value.min()) >= 0, f"{what} go down to {float(value.min()):.3g}")
        close(f"the sum of {what} and 1", value.sum(-1), torch.ones(shape[:2]))


def agrees_with_chains_that_agree(bench: Bench) -> None:
    """Labels on which all chains agree at every step are the answer."""
    labels = bench.labels()[:, :1]
    sure = functional.one_hot(labels, bench.problem.num_classes).float() * 20
    sure = sure.expand(-1, CHAINS, -1, -1)  # (B, R, N, K) logits
    answer = bench.build().read(steps_of(bench, sure), _falling)
    missed = int((answer.labels != labels[:, 0]).sum())
    need(missed == 0, f"{missed} of {answer.labels.numel()} tokens are answered otherwise")


def corrupts_labels(bench: Bench) -> None:
    """`corrupt` gives labels, times and signal powers in [0, 1], and no negative weight."""
    process, problem = bench.build(), bench.problem
    network = network_of(process, problem.num_classes, problem.num_tokens)
    targets = Targets(bench.labels())
    batch = process.corrupt(targets, network.schedule, TimeSettings(), generator())
    shaped("the labels", batch.ids, tuple(targets.labels.shape))
    for what in ("t", "alpha_bar"):
        value = getattr(batch, what)
        low, high = float(value.min()), float(value.max())
        need(low >= 0 and high <= 1, f"{what} goes from {low:.4g} to {high:.4g}")
    if batch.weights is not None:
        least = float(batch.weights.min())
        need(least >= 0, f"a weight is {least:.4g}")
    state, t = network.embed(batch, generator())
    need(state.h.shape[-1] == 16, f"h has shape {tuple(state.h.shape)}, D is 16")
    prepared = network.prepare(bench.normal(IMAGES, 4, 16))
    features = network.features(state, t, prepared, batch.layout)
    shaped("the features of its answers", features, (*targets.labels.shape, 16))


def can_be_sampled(bench: Bench) -> None:
    """A chain of three steps yields logits (B, R, N, K) and ends at labels below K."""
    process, problem = bench.build(), bench.problem
    network = network_of(process, problem.num_classes, problem.num_tokens)
    sampler = sampler_for(getattr(bench.provided.spec, "accepts", frozenset()))
    condition, settings = bench.normal(IMAGES, 4, 16), ChainSettings(steps=3, chains=2)
    step = None
    for step in sample(network, condition, sampler, ArgMax(), settings, generator()):
        shape = (IMAGES, 2, problem.num_tokens)
        shaped("the logits", step.logits, (*shape, problem.num_classes))
        shaped("the labels", step.clean.ids, shape)
    need(step is not None, "the chain takes no step")


def has_a_likelihood(bench: Bench) -> None:
    """The probabilities of all sequences of labels sum to 1."""
    likelihoods_sum_to_one(network_of(bench.build(), 3, 3))


def _falling(labels: Tensor) -> Tensor:
    return -labels.float().sum(-1)


LOSS: tuple[Law, ...] = (
    predicts_label_or_noise,
    gives_a_loss_for_each_row,
    has_finite_gradients,
    is_least_at_the_truth,
    ranks_the_label_first,
)
TO_ONE: tuple[Law, ...] = (gives_labels, follows_what_is_sure)
READ_OUT: tuple[Law, ...] = (gives_an_answer, gives_probabilities, agrees_with_chains_that_agree)
PROCESS: tuple[Law, ...] = (corrupts_labels, can_be_sampled, has_a_likelihood)
