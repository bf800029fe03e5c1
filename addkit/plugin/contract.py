"""Check that a builder's result has every part of its kind's protocol."""

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
"""Folders of libraries. A plugin's error passes through them; its own line is before theirs."""


@dataclass(frozen=True, slots=True)
class GuardedBuild:
    """Wraps a third-party builder and reports its failures as `PluginError`."""

    provider: str
    spec: Spec[Any, Any]
    """The Spec as its plugin gave it."""

    def __call__(self, config: Config, problem: Problem) -> Any:
        """Build the component. Raises `PluginError` if the builder failed, or its result lacks a
        part of the protocol.
        """
        kind = self.spec.kind
        who = f'{kind} "{self.spec.name}" of {self.provider}'
        try:
            built = self.spec.create(config, problem)
        except AddkitError:
            # A user's fault, such as missing data, which the plugin explains itself.
            raise
        except Exception as error:
            raise PluginError(f"{who} cannot be built: {one_line(error)}") from error
        if missing := lacking(kind, built):
            # Written for an older addkit: name the old part next to the new one.
            old = {name: PARTS[name] for name in missing if hasattr(built, PARTS.get(name, ""))}
            names = [f"{name} (was {old[name]})" if name in old else name for name in missing]
            kind_of = "None" if built is None else f"an object of type {type(built).__name__}"
            raise PluginError(
                f"{who}: its builder gave {kind_of}, which lacks {', '.join(names)}; "
                "addkit/plugin/protocols.py describes each"
            )
        return built


def lacking(kind: str, built: object) -> tuple[str, ...]:
    """Names that the kind's protocol has and the object has not."""
    protocol, optional = protocol_of(kind)
    if built is None and optional:
        return ()
    # Not isinstance with a runtime-checkable protocol: that gives no names, and its list of members
    # (typing.get_protocol_members) is newer than the oldest Python here.
    bases = [base for base in protocol.__mro__ if base not in (Protocol, Generic, object)]
    names = [name for base in bases for name in (*inspect.get_annotations(base), *vars(base))]
    public = [name for name in names if not name.startswith("_") or name == "__call__"]
    return tuple(name for name in dict.fromkeys(public) if not hasattr(built, name))


def one_line(error: BaseException) -> str:
    """An error as one line: its type and its text."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def place_of(error: BaseException) -> str:
    """` (FILE:LINE)` of the last frame of an error that is neither addkit's nor a library's."""
    # From the innermost frame outwards.
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        # Code from strings has names such as <string>.
        if file.suffix != ".py" or not file.is_absolute() or file.is_relative_to(ADDKIT):
            continue
        # site-packages is below the standard library's folder.
        is_standard = file.is_relative_to(STANDARD) and "site-packages" not in file.parts
        if not (is_standard or LIBRARIES & set(file.parts)):
            return f" ({file.name}:{frame.lineno})"
    return ""


def protocol_of(kind: str) -> tuple[type, bool]:
    """The protocol that a kind's Spec builds, and whether None is allowed as well."""
    # Read from the Spec's base, so that a kind and its protocol are joined in one place.
    (spec,) = (each for each in KINDS if each.kind == kind)
    # class LossSpec(Spec[C, "Loss"]): the second argument names the protocol.
    generic_base = spec.__dict__["__orig_bases__"][0]
    name, *rest = get_args(generic_base)[1].__forward_arg__.split(" | ")
    return getattr(protocols, name), rest == ["None"]
