"""`k1000`: heads at K = 1,000 where the exact posterior is known; prints a Markdown table.

    python benchmarks/k1000.py --seeds 0 1 2 --only control "linear schedule, posterior"

Class means in 64 dimensions, one Gaussian around each, its width set so that the exact classifier
is right 79.35 % of the time. Heads only, fresh data at every step. The problem and its evaluation
points are the same for all rows; a seed draws initial weights and training data.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, cast

import torch
from measure import Options, Row, Target, note
from torch import Tensor, nn

from addkit.diffusion import (
    Clean,
    LabelDiffusion,
    ObjectiveSettings,
    Targets,
    bayes_denoiser,
    counted_generator,
    counted_seed,
    noised,
    objective,
)
from addkit.model import Inference
from addkit.plugin import Choice, load_registry
from addkit.plugin.spec import Problem
from addkit.processes.gaussian import GaussianProcess
from addkit.recipe import Training
from addkit.training.control import fitting_width
from addkit.training.optimizer import WeightAverage, build_optimizer

CLASSES, DIMENSIONS, WIDTH = 1000, 64, 192
BAYES = 0.7935
BATCH, PEAK_LR, DECAY = 512, 3e-3, 0.99
CLIP = 3.0
LEVELS = (1.0, 0.5, 0.1)
"""Times at which the prediction is compared with the exact posterior."""
COLUMNS = (
    "one-pass",
    "t = T",
    "5 steps",
    "20 steps",
    "w = 2, 10 steps",
    *(f"KL, t = {t:g}" for t in LEVELS),
    "true y_t, t = .1",
)
Scores = dict[str, float]
Tables = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Gaussians whose exact posterior is known."""

    means: Tensor
    """(K, 64)."""
    sigma: float
    x: Tensor
    """Evaluation points, (n, 64)."""
    labels: Tensor
    """(n,)."""

    def log_posterior(self, x: Tensor) -> Tensor:
        """Log p(k | x), (n, K): all classes are equally likely."""
        return (-torch.cdist(x, self.means).square() / (2 * self.sigma**2)).log_softmax(-1)

    def points(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Fresh points and labels."""
        labels = torch.randint(CLASSES, (count,), generator=generator)
        noise = torch.randn(count, DIMENSIONS, generator=generator)
        return self.means[labels] + self.sigma * noise, labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One row: a head and how it is trained."""

    name: str
    tables: Tables
    """Kind -> component and settings, as in a recipe."""
    pure_noise: float = 0.0

    @property
    def is_control(self) -> bool:
        """True if the head ignores the noisy label."""
        return bool(self.tables["denoiser"]["name"] == "control")

    @property
    def predicts_noise(self) -> bool:
        """True if y_T = 0 is no valid input of the head."""
        return bool(self.tables["loss"]["name"] == "mse-noise")


def heads() -> list[Head]:
    """All rows, in the order of the table."""
    grid = [
        _head(schedule, embedding, skip=skip, pure_noise=share)
        for schedule in ("cosine", "linear")
        for embedding in ("linear", "posterior")
        for skip in (False, True)
        for share in (0.0, 0.5)
    ]
    losses = [_head("linear", "linear", loss=loss) for loss in ("weighted-ce", "mse", "mse-noise")]
    return [_control("linear"), _control("mlp"), *grid, *losses]


def _head(
    schedule: str,
    embedding: str,
    *,
    skip: bool = False,
    pure_noise: float = 0.0,
    loss: str = "ce",
) -> Head:
    parts = [f"{schedule} schedule", f"{embedding} embedding", *(["skip"] if skip else [])]
    parts += [f"{pure_noise:g} at t = T"] if pure_noise else []
    parts += [loss] if loss != "ce" else []
    denoiser = {"name": "mlp", "width": WIDTH, "depth": 2, "bayes_skip": skip}
    tables: Tables = {
        "schedule": {"name": schedule},
        "embedding": {"name": embedding},
        "denoiser": denoiser,
        "loss": {"name": loss},
    }
    return Head(name=", ".join(parts), tables=tables, pure_noise=pure_noise)


def _control(kind: str) -> Head:
    """The mlp head has as many parameters in all as the heads of the grid."""
    if kind == "linear":
        return _classifier(kind)
    hidden = fitting_width(
        _size(_head("linear", "posterior")), lambda width: _size(_classifier(kind, hidden=width))
    )
    return _classifier(kind, hidden=hidden)


def _size(head: Head) -> int:
    return sum(parameter.numel() for parameter in build(head, 0).parameters())


def _classifier(kind: str, **size: int) -> Head:
    denoiser = {"name": "control", "head": kind, "width": WIDTH, "depth": 2, **size}
    tables: Tables = {"schedule": {"name": "cosine"}, "denoiser": denoiser, "loss": {"name": "ce"}}
    return Head(name=f"control, {kind} head", tables=tables)


def make_task(points: int) -> Task:
    """Find the width by bisection on 20,000 points, then draw the evaluation points."""
    generator = counted_generator(0, "k1000 means")
    means = torch.randn(CLASSES, DIMENSIONS, generator=generator)
    labels = torch.randint(CLASSES, (20_000,), generator=generator)
    noise = torch.randn(len(labels), DIMENSIONS, generator=generator)
    low, high = 0.1, 10.0
    for _ in range(30):
        sigma = (low + high) / 2
        nearest = torch.cdist(means[labels] + sigma * noise, means).argmin(-1)
        right = float((nearest == labels).float().mean())
        low, high = (sigma, high) if right > BAYES else (low, sigma)
    task = Task(means=means, sigma=sigma, x=means, labels=labels)
    x, labels = task.points(points, counted_generator(0, "k1000 points"))
    return Task(means=means, sigma=sigma, x=x, labels=labels)


def build(head: Head, seed: int) -> LabelDiffusion:
    """The head's network."""
    torch.manual_seed(counted_seed(seed, "k1000 weights"))
    schedule = _component(head, "schedule", Problem())
    u = (torch.arange(4096) + 0.5) / 4096
    problem = Problem(
        num_classes=CLASSES,
        scale=schedule.scale,
        mean_alpha_bar=float(schedule.alpha_bar(u).mean()),
        encoder_width=DIMENSIONS,
        num_encoder_tokens=1,
        condition_width=DIMENSIONS,
        num_condition_tokens=1,
    )
    denoiser = _component(head, "denoiser", problem)
    problem = problem.with_facts(state_width=denoiser.width)
    return LabelDiffusion(
        conditioner=_component(head, "conditioner", problem),
        embedding=_component(head, "embedding", problem) if denoiser.uses_state else None,
        denoiser=denoiser,
        schedule=schedule,
        process=GaussianProcess(),
        loss=_component(head, "loss", problem),
        num_classes=CLASSES,
    )


def _component(head: Head, kind: str, problem: Problem) -> Any:
    settings = dict(head.tables.get(kind, {"name": "mean-token"}))
    choice = _choice(kind, settings.pop("name"), settings)
    return choice.spec.create(choice.config, problem)


def _choice(kind: str, name: str, settings: dict[str, Any] | None = None) -> Choice:
    spec = load_registry().get(kind, name).spec
    return Choice(spec, spec.settings(**(settings or {})))


def train(model: LabelDiffusion, head: Head, task: Task, steps: int, seed: int) -> LabelDiffusion:
    """AdamW, one cycle, fresh points at every step; the averaged network."""
    training = Training.model_validate({"lr": PEAK_LR, "weight_decay": 0.01})
    optimizer = build_optimizer(model, training)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=PEAK_LR, total_steps=steps, cycle_momentum=False
    )
    average = WeightAverage(model, DECAY)
    settings = ObjectiveSettings(
        pure_noise=head.pure_noise, condition_drop=0.0 if head.is_control else 0.1
    )
    for step in range(steps):
        generator = counted_generator(seed, "k1000 train", step)
        x, labels = task.points(BATCH, generator)
        targets = Targets(labels.view(-1, 1, 1))
        value = objective(model, x.unsqueeze(1), targets, settings, generator)
        optimizer.zero_grad(set_to_none=True)
        value.loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        cycle.step()
        average.update_parameters(model)
    return cast("LabelDiffusion", average.module).eval()


@torch.inference_mode()
def evaluate(model: LabelDiffusion, head: Head, task: Task) -> Scores:
    """Accuracies in percent and divergences in nats, by column."""
    condition = model.condition(task.x.unsqueeze(1))
    scores: Scores = {}
    if not head.predicts_noise:
        scores["one-pass"] = _accuracy(model, condition, task, read_out="one-pass")
    if head.is_control:
        scores["KL, t = 1"] = _probe(model, condition, task, 1.0)[0]
        return scores
    ways: dict[str, dict[str, Any]] = {
        "t = T": {"steps": 1},
        "5 steps": {"steps": 5},
        "20 steps": {"steps": 20},
        "w = 2, 10 steps": {"steps": 10, "guidance": 2.0},
    }
    scores |= {name: _accuracy(model, condition, task, **way) for name, way in ways.items()}
    for t in LEVELS:
        scores[f"KL, t = {t:g}"], accuracy = _probe(model, condition, task, t)
    return {**scores, "true y_t, t = .1": accuracy}


def _accuracy(
    model: LabelDiffusion,
    condition: Tensor,
    task: Task,
    *,
    read_out: str = "last",
    steps: int = 1,
    guidance: float = 1.0,
) -> float:
    inference = Inference(
        process=_choice("process", "gaussian"),
        sampler=_choice("sampler", "renoise"),
        to_one=_choice("to_one", "argmax"),
        read_out=_choice("read_out", read_out),
        problem=Problem(num_classes=CLASSES),
        steps=steps,
        guidance=guidance,
        chains=1,
        early_exit=0,
    )
    answer = inference.answer(model, condition, counted_generator(0, "k1000 chain"))
    return 100 * float((answer.labels[:, 0] == task.labels).float().mean())


def _probe(
    model: LabelDiffusion, condition: Tensor, task: Task, time: float
) -> tuple[float, float]:
    """Given the true label's y_t: KL(exact || model), and the model's accuracy in percent."""
    t = torch.full((1, 1, 1), time)
    alpha_bar = model.schedule.alpha_bar(t)
    y_t, noise = _true_state(model, task, alpha_bar)
    outputs = model(model.read(y_t, alpha_bar, noise), t, model.prepare(condition))
    logits = model.loss.logits(outputs, y_t, alpha_bar)[:, 0, 0]
    exact = _exact(task, y_t, alpha_bar, model.schedule.scale)
    divergence = (exact.exp() * (exact - logits.log_softmax(-1))).sum(-1).mean()
    return float(divergence), 100 * float((logits.argmax(-1) == task.labels).float().mean())


def _true_state(model: LabelDiffusion, task: Task, alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
    clean = Clean(task.labels.view(-1, 1, 1)).dense(CLASSES)
    noise = torch.randn(clean.shape, generator=counted_generator(0, "k1000 probe"))
    return noised(clean, noise, alpha_bar, model.schedule.scale).y_t, noise


def _exact(task: Task, y_t: Tensor, alpha_bar: Tensor, scale: float) -> Tensor:
    prior = task.log_posterior(task.x).double().view(-1, 1, 1, CLASSES)
    return bayes_denoiser(prior, y_t.double(), alpha_bar.double(), scale)[:, 0, 0]


def bayes_rows(task: Task) -> dict[str, Scores]:
    """Scores of the exact denoiser for each schedule."""
    found = {}
    for name in ("cosine", "linear"):
        model = build(_head(name, "posterior"), 0)
        alpha_bar = model.schedule.alpha_bar(torch.full((1, 1, 1), LEVELS[-1]))
        y_t, _ = _true_state(model, task, alpha_bar)
        told = _exact(task, y_t, alpha_bar, model.schedule.scale).argmax(-1)
        prior = task.log_posterior(task.x).argmax(-1)
        found[f"exact, {name} schedule"] = {
            "one-pass": 100 * float((prior == task.labels).float().mean()),
            "true y_t, t = .1": 100 * float((told == task.labels).float().mean()),
        }
    return found


def run_head(head: Head, task: Task, seeds: Sequence[int], steps: int) -> list[Scores]:
    """The scores of each seed."""
    found = []
    for seed in seeds:
        start = perf_counter()
        model = train(build(head, seed), head, task, steps, seed)
        middle = perf_counter()
        found.append(evaluate(model, head, task))
        times = f"{middle - start:.0f} + {perf_counter() - middle:.0f} s"
        note(f"  {head.name}, seed {seed}: {times}")
    return found


def table_head() -> str:
    """The table's two header lines in Markdown."""
    rule = "|".join(["---", *("---:" for _ in COLUMNS)])
    return f"| head | {' | '.join(COLUMNS)} |\n|{rule}|"


def table_row(name: str, scores: Sequence[Scores]) -> str:
    """One line: the value of each seed, with slashes between."""
    cells = ["/".join(_cell(one, column) for one in scores) for column in COLUMNS]
    return f"| {name} | {' | '.join(cells)} |"


def _cell(scores: Scores, column: str) -> str:
    if column not in scores:
        return "-"
    value = scores[column]
    if not column.startswith("KL"):
        return f"{value:.2f}"
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def tabulate(
    task: Task,
    wanted: Sequence[Head],
    seeds: Sequence[int],
    steps: int,
    say: Callable[[str], object],
) -> dict[str, list[Scores]]:
    """Train all rows, and print each as soon as it is finished."""
    say(table_head())
    for name, scores in bayes_rows(task).items():
        say(table_row(name, [scores]))
    found = {}
    for head in wanted:
        found[head.name] = run_head(head, task, seeds, steps)
        say(table_row(head.name, found[head.name]))
    say(f"\n{caption(task, seeds, steps)}")
    return found


def caption(task: Task, seeds: Sequence[int], steps: int) -> str:
    """The caption of the table."""
    each = f" Seeds {', '.join(map(str, seeds))}, with slashes between."
    return (
        f"K = {CLASSES:,}. Top-1 in % on {len(task.x):,} points, the same for all rows; "
        "KL(exact || model) in nats. Columns 2 to 5 start from noise and re-noise, arg max fed "
        f"back. {steps} steps of {BATCH} fresh points, width {WIDTH}, 2 blocks, averaged "
        f"weights.{each}"
    )


def rows(options: Options) -> Iterator[Row]:
    """For `run.py`: prints the table, and returns the rows with a target."""
    steps, points = (5, 50) if options.quick else (700, 2000)
    found = tabulate(make_task(points), heads(), [0], steps, lambda line: print(line, flush=True))
    collapse = found["linear schedule, linear embedding, mse-noise"][0]
    yield Row(
        name="k1000",
        compares="mse-noise, top-1 in % after 20 steps (the paper's collapse)",
        values=[collapse["20 steps"]],
        target=Target(1.0),
    )
    control = found["control, linear head"][0]["one-pass"]
    for name, scores in found.items():
        if "one-pass" in scores[0]:
            yield Row(
                name="k1000",
                compares=f"{name}: top-1 by the prior read-out / linear control",
                values=[scores[0]["one-pass"] / control],
            )


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Label diffusion at K = 1,000, as Markdown.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], metavar="SEED")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--points", type=int, default=2000, help="number of evaluation points")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="TEXT", help="rows that contain one"
    )
    arguments = parser.parse_args()
    task = make_task(arguments.points)
    note(f"noise {task.sigma:.4f} around means of norm about {DIMENSIONS**0.5:g}")
    wanted = [head for head in heads() if any(text in head.name for text in arguments.only)]
    tabulate(task, wanted, arguments.seeds, arguments.steps, lambda line: print(line, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
