"""Laws of every kind: settings, building, seeds, gradients and checkpoints."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tomllib

import torch
from safetensors.torch import load, save
from torch import nn

from addkit.errors import PluginError, guess
from addkit.plugin.contract import lacking
from addkit.plugin.selection import FILES, ONLY, STRICT, WITHOUT
from addkit.plugin.spec import ABILITIES
from addkit.recipe.toml import toml_value
from addkit.recipe.validation import validated
from addkit.renamed import ABILITIES as RENAMED_ABILITIES
from addkit.renamed import renamed_to
from addkit.testing.fixed_inputs import output
from addkit.testing.small_problem import Bench, LawBrokenError, SkippedError, close, need

# Run in a fresh process: this one has torch already.
_SCRIPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
from addkit.plugin import load_registry
load_registry()
print(json.dumps("torch" in sys.modules))
"""


def has_a_summary_and_known_abilities(bench: Bench) -> None:
    """Its summary is one line of 100 characters at most, and its abilities exist."""
    summary = bench.provided.spec.summary
    need(bool(summary.strip()), "its summary is empty")
    need("\n" not in summary, "its summary has several lines")
    need(len(summary) <= 100, f"its summary has {len(summary)} characters, more than 100")
    known = ABILITIES.get(bench.provided.spec.kind, {})
    for ability in bench.provides - known.keys():
        # A misspelt ability would be ignored in silence. `x-` is free for plugins of one author.
        hint = renamed_to(RENAMED_ABILITIES.get(ability)) or guess(ability, known)
        text = f'it provides "{ability}", which nothing asks for{hint}'
        need(ability.startswith("x-"), f"{text}. Known: {', '.join(known) or 'none'}")


def needs_no_torch_before_build(bench: Bench) -> None:
    """Loading its plugin imports no torch: `addkit --help` must stay quick."""
    owner = bench.provided.distribution
    need(not _imports_torch(owner), f"loading {owner} imports torch; import it inside build")


def settings_survive_a_recipe(bench: Bench) -> None:
    """Settings written as TOML and read again are the same."""
    config = bench.config
    # As a run stores its recipe: TOML has no null, so None is left out.
    values = config.model_dump(mode="json", exclude_none=True)
    text = "".join(f"{key} = {toml_value(value)}\n" for key, value in values.items())
    try:
        again = validated(type(config), tomllib.loads(text))
    except ValueError as error:
        raise LawBrokenError(f"written as {text!r} they are refused: {error}") from None
    need(again == config, f"{config!r} became {again!r}")


def builds_from_its_settings(bench: Bench) -> None:
    """Its config and build can be imported, and its class takes every setting and only facts."""
    # The Spec as its author gave it: `spec.build` is the wrapper that names the plugin in errors.
    spec = bench.provided.own_spec or bench.provided.spec
    try:
        spec.checked_build()
    except PluginError as error:
        raise LawBrokenError(str(error)) from None


def builds_on_the_cpu(bench: Bench) -> None:
    """Its builder gives an object with everything that the kind's protocol names."""
    built = bench.build()
    missing = lacking(bench.kind, built)
    need(not missing, f"it lacks {', '.join(missing)}")
    if isinstance(built, nn.Module):
        # addkit moves the whole network at once; a tensor made on a GPU would be left there.
        devices = {str(tensor.device) for tensor in (*built.parameters(), *built.buffers())}
        need(devices <= {"cpu"}, f"its weights are on {', '.join(sorted(devices))}")


def the_same_seed_gives_the_same(bench: Bench) -> None:
    """Built twice with one seed it gives the same output, bit by bit."""
    first, second = (output(bench, bench.build()).detach() for _ in range(2))
    apart = int((first != second).sum())
    need(apart == 0, f"{apart} of {first.numel()} values differ")


def keeps_no_hidden_state(bench: Bench) -> None:
    """In evaluation, the same input and generator give the same again: no hidden state."""
    built = bench.build()
    # Tolerance 0: a result that depends on earlier calls breaks resuming to the bit.
    close("the second time", output(bench, built), output(bench, built), 0)


def draws_from_its_generator_alone(bench: Bench) -> None:
    """It leaves torch's global random numbers alone, so that other components keep theirs."""
    built = bench.build()
    with torch.random.fork_rng(devices=[]):
        before = torch.random.get_rng_state()
        output(bench, built)
        need(torch.equal(before, torch.random.get_rng_state()), "it drew global random numbers")


@torch.enable_grad()
def gradients_are_finite(bench: Bench) -> None:
    """Every weight that trains gets a gradient, and it is finite."""
    module = _module(bench)
    result = output(bench, module)
    if not result.requires_grad:
        raise SkippedError("has no weights that train")
    # A random weight for each value: a plain sum is constant behind a softmax or a layer norm,
    # whose gradient would be 0.
    torch.autograd.backward((result * bench.normal(*result.shape)).sum())
    for name, weight in module.named_parameters():
        if not weight.requires_grad:
            continue
        need(weight.grad is not None, f"{name} gets no gradient; is it used at all?")
        bad = 0 if weight.grad is None else int((~weight.grad.isfinite()).sum())
        need(bad == 0, f"{bad} of {weight.numel()} gradients of {name} are not finite")


def survives_a_checkpoint(bench: Bench) -> None:
    """Its weights through safetensors into another instance give the same output."""
    saved = _module(bench)
    # Another seed, so that a weight that is not in the state dict is not equal by chance.
    loaded = bench.build(seed=1)
    # safetensors refuses tensors with gaps.
    state = {key: value.detach().contiguous() for key, value in saved.state_dict().items()}
    try:
        loaded.load_state_dict(load(save(state)))
    except (RuntimeError, ValueError) as error:
        raise LawBrokenError(f"its state cannot be saved and loaded: {error}") from None
    close("after loading", output(bench, loaded), output(bench, saved), 0)


LAWS = (
    has_a_summary_and_known_abilities,
    needs_no_torch_before_build,
    settings_survive_a_recipe,
    builds_from_its_settings,
    builds_on_the_cpu,
    the_same_seed_gives_the_same,
    keeps_no_hidden_state,
    draws_from_its_generator_alone,
    gradients_are_finite,
    survives_a_checkpoint,
)


def _module(bench: Bench) -> nn.Module:
    built = bench.build()
    if not isinstance(built, nn.Module):
        raise SkippedError("is no module with weights")
    return built


# A process for each package takes seconds, so its components share one answer.
@functools.cache
def _imports_torch(owner: str) -> bool:
    """True if loading a package's plugins (or all plugin files, for a file) imports torch."""
    is_file = owner.endswith(".py")
    environment = {
        **os.environ,
        # sys.path as it is here: pytest and others may have added to it.
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        ONLY: "" if is_file or owner == "addkit" else owner,
        WITHOUT: "",
        STRICT: "",
        FILES: os.environ.get(FILES, "") if is_file else "",
    }
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise SkippedError(f"a fresh process could not load it: {done.stderr.strip()[-200:]}")
    return bool(json.loads(done.stdout))
