"""Several processes on this machine, each with a share of a network; run as a script.

    python sharded_lab.py parity OUT     trainings by one process and by two, in OUT/CASE-SIZE.pt
    python sharded_lab.py resume OUT     a training saved by two processes, gone on with by 1 and 3

One import serves them all: processes are forked. They meet in a file, and no port is taken.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.optim.swa_utils import AveragedModel

from addkit.diffusion import ObjectiveSettings, Targets, counted_generator, objective
from addkit.distributed.fsdp import (
    average_shards,
    cut_state,
    fill_shards,
    gather_into,
    last_of_step,
    load_shards,
    save_shards,
    shard,
    whole,
    whole_state,
)
from addkit.errors import RunError
from addkit.model import Network, build_data, build_network
from addkit.recipe import read_recipe
from addkit.training.optimizer import (
    WeightAverage,
    build_optimizer,
    pack_optimizer,
    unpack_optimizer,
)

RECIPES = Path(__file__).parents[2] / "recipes"
PARTS, STEPS = 6, 2
"""Micro-batches of a step, and steps of a training."""
VIT = (
    *("encoder.name=vit", "encoder.model=vit_tiny_patch16_224", "encoder.patch_size=16"),
    *("encoder.width=16", "encoder.depth=2", "encoder.heads=2"),
    *("denoiser.width=16", "denoiser.depth=2", "denoiser.heads=2", "training.lr=1e-3"),
)
SMALL = ("encoder.widths=[8, 16]", "encoder.blocks=1", "denoiser.width=16", "denoiser.depth=1")
CASES: dict[str, tuple[str, ...]] = {
    "plain": VIT,
    "many copies, recomputed": (
        *VIT,
        "distributed.recompute_activations=true",
        "training.reuse=10",
        "denoiser.dropout=0",
    ),
    "frozen encoder": (*VIT, "encoder.frozen=true"),
    "bfloat16": (*VIT, "training.precision=bfloat16"),
    "self-conditioning": (*VIT, "denoiser.self_condition=0.5"),
    "digits": SMALL,
}
SHALLOW = (*VIT, "encoder.depth=1", "denoiser.depth=1")
"""For what is saved and read again."""


class Step(nn.Module):
    """Calls a network as training does."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, labels: Tensor, number: int) -> tuple[Tensor]:
        tokens = self.network.tokens(images)
        noise = counted_generator(0, "step", number)
        targets = Targets(labels)
        model = self.network.diffusion
        loss = objective(model, tokens, targets, ObjectiveSettings(), noise).loss
        if model.self_conditioning is not None:
            # A coin tells if it is read; processes must agree on which gradients they send.
            loss = loss + 0 * sum(p.sum() for p in model.self_conditioning.parameters())
        return (loss,)


class Lab:
    """A training of one of `size` processes; of none that are sharded, if size is 1."""

    def __init__(self, case: str, rank: int, size: int) -> None:
        self.recipe = read_recipe(
            RECIPES / ("digits.toml" if case == "digits" else "attributes.toml"),
            CASES.get(case, SHALLOW),
        )
        self.facts = build_data(self.recipe).facts
        self.rank, self.size = rank, size
        self.network = self.build()
        self.root = Step(self.network)
        self.average: AveragedModel = WeightAverage(self.network, 0.9)
        if size > 1:
            mesh = init_device_mesh("cpu", (size,))
            shard(self.root, self.network, mesh, precision=self.recipe.training.precision)
            average_shards(self.average, self.network)
        self.optimizer = build_optimizer(self.network, self.recipe.training)
        self.losses: list[float] = []
        self.norm = torch.zeros(())

    def build(self) -> Network:
        network = build_network(self.recipe, self.facts).train()
        torch.manual_seed(0)
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.1)
        if self.recipe.distributed.recompute_activations:
            network.recompute_activations()
        return network

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        facts, generator = self.facts, torch.Generator().manual_seed(number)
        labels = (2, self.recipe.training.reuse, facts.num_tokens)
        images = (2, facts.image_channels, facts.image_size, facts.image_size)
        return (
            torch.randn(images, generator=generator),
            torch.randint(facts.num_classes, labels, generator=generator),
        )

    def step(self, step: int) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        mine = range(self.rank, PARTS, self.size)
        for number in mine:
            if self.size > 1:
                last_of_step(self.root, number == mine[-1])
            low = self.recipe.training.precision == "bfloat16"
            torch.manual_seed(step * PARTS + number)
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                (loss,) = self.root(*self.batch(step * PARTS + number), step * PARTS + number)
            (loss / len(mine)).backward()
            self.losses.append(loss.item())
        trained = [p for p in self.network.parameters() if p.requires_grad]
        self.norm = whole(nn.utils.clip_grad_norm_(trained, 1.0))
        self.optimizer.step()
        self.average.update_parameters(self.network)

    def told(self) -> dict[str, Any]:
        gradients = {
            name: whole(p.grad) for name, p in self.network.named_parameters() if p.grad is not None
        }
        return {
            "losses": self.losses,
            "norm": self.norm,
            "gradients": gradients,
            "weights": self.whole(self.network),
            "averages": self.whole(self.average.module),
        }

    def whole(self, module: nn.Module) -> dict[str, Tensor]:
        return {name: whole(x.detach()).clone() for name, x in module.state_dict().items()}


def parity(rank: int, size: int, out: str) -> None:
    with joined(rank, size, out):
        for case in CASES:
            lab = Lab(case, rank, size)
            for step in range(STEPS):
                lab.step(step)
            told = lab.told()
            if size > 1:
                plain = lab.build()
                gather_into(plain, lab.network)
                told["gathered"] = plain.state_dict()
                told["state"] = whole_state(lab.network.state_dict())
                told["shares"] = sum(p.to_local().numel() for p in lab.network.parameters())
            torch.save(told, Path(out) / f"{case}-{size}-{rank}.pt")


def save(rank: int, size: int, out: str) -> None:
    """Two steps, a checkpoint, and one step while it is being written."""
    with joined(rank, size, out):
        lab = Lab("shallow", rank, size)
        lab.step(0)
        lab.step(1)
        tensors = pack_optimizer(lab.network, lab.optimizer)
        wait = save_shards(Path(out) / f"optimizer-{size}", tensors)
        weights = {"network": lab.whole(lab.network), "average": lab.whole(lab.average.module)}
        packed = {name: whole(x).clone() for name, x in tensors.items()}
        lab.step(2)
        wait()
        told = lab.told()
        if rank == 0:
            torch.save({**weights, "optimizer": packed}, Path(out) / "saved-2.pt")
            torch.save(told, Path(out) / "uninterrupted.pt")


def fail(rank: int, size: int, out: str) -> None:
    """A save to where no folder can be."""
    with joined(rank, size, out, "fail"):
        try:
            save_shards(Path(out) / "saved-2.pt" / "optimizer", {"x": torch.ones(1)})()
        except RunError as error:
            (Path(out) / f"error-{rank}.txt").write_text(str(error))


def resume(rank: int, size: int, out: str) -> None:
    """The third step after what two processes, or one, have saved."""
    with joined(rank, size, out):
        saved = torch.load(Path(out) / "saved-2.pt")
        for kind in ("whole", "sharded") if size > 1 else ("sharded",):
            lab = Lab("shallow", rank, size)
            fill_shards(lab.network, saved["network"])
            fill_shards(lab.average.module, saved["average"])
            lab.average.n_averaged.fill_(2)
            parameters = dict(lab.network.named_parameters())
            if kind == "sharded":
                state = load_shards(Path(out) / "optimizer-2", parameters)
            else:
                state = cut_state(saved["optimizer"], parameters)
            unpack_optimizer(lab.network, lab.optimizer, state)
            lab.step(2)
            told = lab.told()
            tensors = pack_optimizer(lab.network, lab.optimizer)
            told["optimizer"] = {name: whole(x).clone() for name, x in tensors.items()}
            if rank == 0:
                torch.save(told, Path(out) / f"{kind}-{size}.pt")
        if size > 1:
            save_shards(Path(out) / f"optimizer-{size}", tensors)()


class joined:  # noqa: N801
    """A process group, unless there is one process alone."""

    def __init__(self, rank: int, size: int, out: str, name: str = "") -> None:
        self.rank, self.size, self.out, self.name = rank, size, out, f"{name}{size}"

    def __enter__(self) -> None:
        torch.set_num_threads(1)
        if self.size > 1:
            distributed.init_process_group(
                "gloo",
                init_method=f"file://{self.out}/meet-{self.name}",
                rank=self.rank,
                world_size=self.size,
                timeout=timedelta(seconds=60),
            )

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self.size > 1 and kind is None:
            distributed.barrier()
            distributed.destroy_process_group()


def main(verb: str, out: str) -> None:
    jobs: dict[str, list[tuple[Callable[..., None], int]]] = {
        "parity": [(parity, 1), (parity, 2)],
        "resume": [(save, 2), (fail, 2), (resume, 1), (resume, 3)],
    }
    for slow in ("addkit.encoders.timm", "addkit.tasks.attributes", "torch._dynamo"):
        import_module(slow)  # Once, and not in each process.
    for work, size in jobs[verb]:
        multiprocessing.start_processes(work, (size, out), nprocs=size, start_method="fork")


if __name__ == "__main__":
    main(*sys.argv[1:])
