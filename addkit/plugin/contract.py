"""What a builder's result must have, read off the kind's protocol."""

from __future__ import annotations

import inspect
import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, get_args

from addkit.errors import AddkitError, PluginError
from addkit.plugin import protocols
from addkit.plugin.spec import KINDS, Problem, Spec
from addkit.renamed import PARTS

if TYPE_CHECKING:
    from addkit.plugin.config import Config

ADDKIT, STANDARD = Path(__file__).parents[1], Path(sysconfig.get_path("stdlib"))
LIBRARIES = {"torch", "timm", "torchvision", "pydantic", "pluggy", "typer", "click"}
"""Their folders: an error that passes through them arose before."""


@dataclass(frozen=True, slots=True)
class GuardedBuild:
    """Wraps a third-party builder and reports its failures as `PluginError`."""

    provider: str
    spec: Spec[Any, Any]
    """The Spec as its plugin gave it."""

    def __call__(self, config: Config, problem: Problem) -> Any:
        """Build the component.

        Raises:
            PluginError: the builder failed, or its result lacks a part of the protocol.
        """
        kind = self.spec.kind
        who = f'{kind} "{self.spec.name}" of {self.provider}'
        try:
            built = self.spec.create(config, problem)
        except AddkitError:
            raise
        except Exception as error:
            raise PluginError(f"{who} cannot be built: {one_line(error)}") from error
        if missing := lacking(kind, built):
            old = {name: PARTS[name] for name in missing if hasattr(built, PARTS.get(name, ""))}
            names = [f"{name} (was {old[name]})" if name in old else name for name in missing]
            raise PluginError(
                f"{who}: its builder gave {_what(built)}, which lacks {', '.join(names)}; "
                "addkit/plugin/protocols.py says what each is"
            )
        return built


def lacking(kind: str, built: object) -> tuple[str, ...]:
    """Names that the kind's protocol has and the object has not."""
    protocol, optional = protocol_of(kind)
    if built is None and optional:
        return ()
    return tuple(name for name in _members(protocol) if not hasattr(built, name))


def one_line(error: BaseException) -> str:
    """An error as one line: its type and its text."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def place_of(error: BaseException) -> str:
    """` (FILE:LINE)` of the last step of an error that is neither addkit's nor a library's."""
    steps = [
        step for step in traceback.extract_tb(error.__traceback__) if _is_theirs(step.filename)
    ]
    return f" ({Path(steps[-1].filename).name}:{steps[-1].lineno})" if steps else ""


def _is_theirs(file: str) -> bool:
    where = Path(file)
    if where.suffix != ".py" or not where.is_absolute() or where.is_relative_to(ADDKIT):
        return False
    standard = where.is_relative_to(STANDARD) and "site-packages" not in where.parts
    return not (standard or LIBRARIES & set(where.parts))


def _what(built: object) -> str:
    return "None" if built is None else f"an object of type {type(built).__name__}"


def protocol_of(kind: str) -> tuple[type, bool]:
    """The protocol that a kind's Spec names as what it builds, and whether None will do as well."""
    (spec,) = (each for each in KINDS if each.kind == kind)
    # class LossSpec(Spec[C, "Loss"]): the second argument names the protocol.
    generic_base = spec.__dict__["__orig_bases__"][0]
    name, *rest = get_args(generic_base)[1].__forward_arg__.split(" | ")
    return getattr(protocols, name), rest == ["None"]


def _members(protocol: type) -> tuple[str, ...]:
    own = [one for one in protocol.__mro__ if one not in (Protocol, Generic, object)]
    names = [name for one in own for name in (*inspect.get_annotations(one), *vars(one))]
    public = (name for name in names if not name.startswith("_") or name == "__call__")
    return tuple(dict.fromkeys(public))
