"""The laws of each kind, and how a component is held to them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from addkit.errors import UsageError, guess
from addkit.plugin import Provided, Registry, load_registry
from addkit.plugin.contract import one_line, place_of
from addkit.testing import all_kinds, data, networks, outputs, schedules_and_samplers
from addkit.testing.small_problem import (
    Bench,
    Example,
    Law,
    LawBrokenError,
    NotHereError,
    SkippedError,
    example_of,
)

LAWS: dict[str, tuple[Law, ...]] = {
    "task": data.TASK,
    "tokenizer": data.TOKENIZER,
    "data": data.DATA,
    "encoder": networks.ENCODER,
    "conditioner": networks.CONDITIONER,
    "process": outputs.PROCESS,
    "embedding": networks.EMBEDDING,
    "denoiser": networks.DENOISER,
    "schedule": schedules_and_samplers.SCHEDULE,
    "timesteps": schedules_and_samplers.TIMES,
    "loss": outputs.LOSS,
    "to_one": outputs.TO_ONE,
    "sampler": schedules_and_samplers.SAMPLER,
    "read_out": outputs.READ_OUT,
    "tracker": data.TRACKER,
}
"""By kind, beside those of every kind."""
BUILDS = all_kinds.builds_on_the_cpu.__name__
UNBUILT = "the others need it built"


@dataclass(frozen=True, slots=True)
class Trial:
    """One law for one component. Call it: it raises `LawBrokenError`, or `SkippedError`."""

    bench: Bench
    law: Law

    @property
    def name(self) -> str:
        """Such as `never_rises`."""
        return str(getattr(self.law, "__name__", "law"))

    @property
    def statement(self) -> str:
        """What must hold, in a sentence."""
        return (self.law.__doc__ or self.name).strip().splitlines()[0]

    def __call__(self) -> None:
        spec = self.bench.provided.spec
        try:
            with torch.no_grad():
                self.law(self.bench)
        except SkippedError:
            raise
        except LawBrokenError as error:
            text = f'{spec.kind} "{spec.name}": {self.statement} But {error}'
            raise LawBrokenError(text) from None
        except Exception as error:
            failed = f"{one_line(error)}{place_of(error)}"
            text = f'{spec.kind} "{spec.name}": {self.statement} But it failed: {failed}'
            raise LawBrokenError(text) from error

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a component stands with the laws."""

    kind: str
    name: str
    provider: str
    kept: int
    """Laws that hold."""
    broken: Mapping[str, str]
    """Law -> what is wrong."""
    skipped: str
    """Why some laws could not be looked at; empty where none was left out for lack of anything."""

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "kind": self.kind,
            "name": self.name,
            "provider": self.provider,
            "holds": not self.broken,
            "laws": self.kept,
            "broken": dict(self.broken),
            "skipped": self.skipped,
        }


def laws_of(kind: str) -> tuple[Law, ...]:
    """Those of every kind, then those of this one."""
    return (*all_kinds.LAWS, *LAWS[kind])


def trials(
    kind: str, name: str, registry: Registry | None = None, **example: Any
) -> tuple[Trial, ...]:
    """Every law for one component.

    Args:
        kind: such as "conditioner".
        name: what a recipe writes.
        registry: where the component is; by default that of everything installed.
        example: fields of `Example`: settings, facts, levels.

    Raises:
        UnknownComponent: there is no such component.
    """
    provided = (registry or load_registry()).get(kind, name)
    return tuple(Trial(_bench(provided, example), law) for law in laws_of(kind))


def check(kind: str, name: str, registry: Registry | None = None, **example: Any) -> Verdict:
    """All laws at once; what is broken is in the verdict."""
    provided = (registry or load_registry()).get(kind, name)
    kept, broken, skipped = 0, {}, dict[str, None]()
    for trial in trials(kind, name, registry, **example):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                trial()
            kept += 1
        except LawBrokenError as error:
            if BUILDS in broken and error.__cause__ is not None:
                skipped[UNBUILT] = None
            else:
                broken[trial.name] = str(error)
        except NotHereError as error:
            skipped[str(error)] = None
        except SkippedError:
            # No law for this component: nothing is missing.
            continue
    return Verdict(kind, name, provided.provider, kept, broken, "; ".join(skipped))


def check_package(
    registry: Registry, package: str | None = None, *, may_be_empty: bool = False
) -> Iterator[Verdict]:
    """A verdict for each component of a package, or of every third party.

    Raises:
        UsageError: no such package has components; a broken plugin is named with its error.
    """
    owned = [
        (kind, name)
        for (kind, name), provided in sorted(registry.components.items())
        if _is_of(provided, package)
    ]
    broken = [one for one in registry.broken if package in (None, one.distribution)]
    if broken:
        raise UsageError("\n".join(f"broken plugin: {one}" for one in broken))
    if not owned and not may_be_empty:
        raise UsageError(_nothing(registry, package))
    return (check(kind, name, registry) for kind, name in owned)


def _is_of(provided: Provided, package: str | None) -> bool:
    return provided.is_third_partys if package is None else provided.distribution == package


def _nothing(registry: Registry, package: str | None) -> str:
    owners = sorted({one.distribution for one in registry.components.values()})
    if package is None:
        return "no third party's plugin is installed; `addkit plugins check addkit` checks ours"
    return (
        f'no package "{package}" has components{guess(package, owners)}. {", ".join(owners)} do. '
        "A package in a folder is found once it is installed: pip install -e FOLDER"
    )


def _bench(provided: Provided, example: Mapping[str, Any]) -> Bench:
    if example:
        return Bench(provided, Example(**example))
    spec = provided.spec
    return Bench(provided, example_of(spec.kind, spec.name, provided.distribution))
