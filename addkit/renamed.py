"""What was renamed or moved out: old names get an error with the new one, no alias stays."""

from __future__ import annotations

from collections.abc import Mapping

KINDS: Mapping[str, str] = {"times": "timesteps"}
"""Kinds of components, which are tables of a recipe as well."""

COMPONENTS: Mapping[tuple[str, str], str] = {
    ("schedule", "identity"): "label-accuracy",
    ("sampler", "commit"): "maskgit",
    ("read_out", "prior"): "one-pass",
}
"""(kind, name) -> the component's name."""

KEYS: Mapping[str, str] = {"training.checkpoint_every": "checkpoints.every"}
"""Dotted keys of a recipe."""

OPTIONS: Mapping[str, str] = {"--beside": "--input"}
"""Options of the command line."""

COMMANDS: Mapping[str, str] = {"claims": "addkit-paper", "theory": "addkit-paper"}
"""Commands that moved out of addkit, and the package that adds each."""

ABILITIES: Mapping[str, str] = {"beside": "side-inputs"}
"""What a Spec may provide."""

PUBLIC: Mapping[str, str] = {
    "TimesSpec": "TimestepsSpec",
    "Times": "Timesteps",
    "Hidden": "NoisyBatch",
    "Beside": "SideInputs",
    "evidence": "log_likelihood_scale",
}
"""What plugins import, and how they name it now."""

PARTS: Mapping[str, str] = {"corrupt": "hide", "sample": "carry"}
"""Parts of a protocol -> what they were called."""

API_CHANGES = (
    "the kind times is timesteps, Process.hide is corrupt, and a Sampler owns its step (subclass "
    "addkit.samplers.renoise.Renoise); CHANGELOG.md lists all"
)
"""What plugin API 2 changed, for plugins that were written for 1."""


def moved_to(package: str) -> str:
    """`added by the package "x" (pip install plugins/x)`, for a command that moved out."""
    return f'added by the package "{package}" (pip install plugins/{package} in a checkout)'


def renamed_to(new: str | None) -> str:
    """` (renamed to "x")`, which stands where a guess would; empty for None."""
    return "" if new is None else f' (renamed to "{new}")'


def refuse_old_name(module: str, name: str) -> None:
    """Raise `ImportError` if a public name of a module was renamed; for its `__getattr__`."""
    # Not an AttributeError, whose text `from module import name` would drop.
    if name in PUBLIC:
        raise ImportError(f'{module} has no "{name}"{renamed_to(PUBLIC[name])}')
