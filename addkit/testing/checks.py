"""Check components against the laws of their kind."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from addkit.errors import UsageError, guess
from addkit.plugin import Registry, load_registry
from addkit.plugin.contract import one_line, place_of
from addkit.testing import all_kinds, data, diffusion, networks
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
    "process": diffusion.PROCESS,
    "embedding": networks.EMBEDDING,
    "denoiser": networks.DENOISER,
    "schedule": diffusion.SCHEDULE,
    "timesteps": diffusion.TIMES,
    "loss": diffusion.LOSS,
    "to_one": diffusion.TO_ONE,
    "sampler": diffusion.SAMPLER,
    "read_out": diffusion.READ_OUT,
    "tracker": data.TRACKER,
}
"""By kind, in addition to those of every kind."""
BUILDS = all_kinds.builds_on_the_cpu.__name__
UNBUILT = "the other laws need it built"


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
        """The law in a sentence: the first line of its docstring."""
        return (self.law.__doc__ or self.name).strip().splitlines()[0]

    def __call__(self) -> None:
        spec = self.bench.provided.spec
        try:
            # Laws about gradients turn them on again.
            with torch.no_grad():
                self.law(self.bench)
        except SkippedError:
            raise  # An Exception as well, which the last branch would take for a failure.
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
    """The result of checking one component against all laws."""

    kind: str
    name: str
    provider: str
    kept: int
    """Laws that hold."""
    broken: Mapping[str, str]
    """Law -> what is wrong."""
    skipped: str
    """Why some laws could not be checked; empty where nothing was missing."""

    def data(self) -> dict[str, Any]:
        """The verdict as JSON."""
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
    """Every law for one component. Raises `UnknownComponent` if there is no such component.

    Args:
        kind: such as "conditioner".
        name: what a recipe writes.
        registry: where the component is; by default that of everything installed.
        example: fields of `Example`: settings, facts, levels.
    """
    provided = (registry or load_registry()).get(kind, name)
    own = Example(**example) if example else example_of(kind, name, provided.distribution)
    return tuple(Trial(Bench(provided, own), law) for law in laws_of(kind))


def check(kind: str, name: str, registry: Registry | None = None, **example: Any) -> Verdict:
    """Check all laws, and collect those that are broken in the verdict."""
    provided = (registry or load_registry()).get(kind, name)
    kept, broken, skipped = 0, {}, dict[str, None]()
    for trial in trials(kind, name, registry, **example):
        try:
            # A component may warn of its small problem, which is no user's.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                trial()
            kept += 1
        except LawBrokenError as error:
            # A component that cannot be built fails every later law for the same reason.
            if BUILDS in broken and error.__cause__ is not None:
                skipped[UNBUILT] = None
            else:
                broken[trial.name] = str(error)
        except NotHereError as error:
            skipped[str(error)] = None
        except SkippedError:
            # The law does not apply to this component: nothing is missing.
            continue
    return Verdict(kind, name, provided.provider, kept, broken, "; ".join(skipped))


def check_package(
    registry: Registry, package: str | None = None, *, may_be_empty: bool = False
) -> Iterator[Verdict]:
    """Check each component of a package, or of every third party, as the verdicts are read. Raises
    `UsageError` if no such package has components; a broken plugin is named with its error.
    """
    owned = [
        key
        for key, provided in sorted(registry.components.items())
        if (provided.is_third_partys if package is None else provided.distribution == package)
    ]
    broken = [plugin for plugin in registry.broken if package in (None, plugin.distribution)]
    if broken:
        raise UsageError("\n".join(f"broken plugin: {plugin}" for plugin in broken))
    if not owned and not may_be_empty:
        if package is None:
            raise UsageError(
                "no third party's plugin is installed; `addkit plugins check addkit` checks ours"
            )
        owners = sorted({each.distribution for each in registry.components.values()})
        raise UsageError(
            f'no package "{package}" has components{guess(package, owners)}. '
            f"{', '.join(owners)} do. "
            "A package in a folder is found once it is installed: pip install -e FOLDER"
        )
    # A generator, and not `yield` above: the errors are raised at the call.
    return (check(kind, name, registry) for kind, name in owned)
