"""Laws of every kind: settings, building, seeds, gradients and checkpoints."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tomllib
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from addkit.errors import PluginError, guess
from addkit.plugin.contract import lacking
from addkit.plugin.selection import FILES, ONLY, STRICT, WITHOUT
from addkit.plugin.spec import ABILITIES
from addkit.recipe.toml import toml_value
from addkit.recipe.validation import validated
from addkit.renamed import ABILITIES as RENAMED_ABILITIES
from addkit.renamed import renamed_to
from addkit.testing.fixed_inputs import RUNS
from addkit.testing.small_problem import Bench, LawBrokenError, SkippedError, close, need

_LIGHT = """
import json, sys, warnings
warnings.simplefilter("ignore")
from addkit.plugin import load_registry
load_registry()
print(json.dumps("torch" in sys.modules))
"""


def says_what_it_is(bench: Bench) -> None:
    """Its summary is one line of 100 characters at most, and it provides what there is."""
    summary = bench.provided.spec.summary
    need(bool(summary.strip()), "its summary is empty")
    need("\n" not in summary, "its summary has several lines")
    need(len(summary) <= 100, f"its summary has {len(summary)} characters, more than 100")
    known = ABILITIES.get(bench.provided.spec.kind, {})
    for one in bench.provides - known.keys():
        hint = renamed_to(RENAMED_ABILITIES.get(one)) or guess(one, known)
        told = f'it provides "{one}", which nothing asks for{hint}'
        need(one.startswith("x-"), f"{told}. Known: {', '.join(known) or 'none'}")


def needs_no_torch_before_build(bench: Bench) -> None:
    """Loading its plugin imports no torch: `addkit --help` must stay quick."""
    owner = bench.provided.distribution
    need(not _imports_torch(owner), f"loading {owner} imports torch; import it inside build")


def settings_survive_a_recipe(bench: Bench) -> None:
    """Settings written as TOML and read again are the same."""
    config = bench.config
    values = config.model_dump(mode="json", exclude_none=True)
    text = "".join(f"{key} = {toml_value(value)}\n" for key, value in values.items())
    try:
        again = validated(type(config), tomllib.loads(text))
    except ValueError as error:
        raise LawBrokenError(f"written as {text!r} they are refused: {error}") from None
    need(again == config, f"{config!r} became {again!r}")


def builds_from_its_settings(bench: Bench) -> None:
    """Its config and build can be imported, and its class takes every setting and only facts."""
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
        devices = {str(one.device) for one in (*built.parameters(), *built.buffers())}
        need(devices <= {"cpu"}, f"its weights are on {', '.join(sorted(devices))}")


def the_same_seed_gives_the_same(bench: Bench) -> None:
    """Built twice with one seed it says the same, bit by bit."""
    one, other = _said(bench), _said(bench)
    apart = int((one != other).sum())
    need(apart == 0, f"{apart} of {one.numel()} values differ")


def saying_twice_is_saying_the_same(bench: Bench) -> None:
    """In evaluation, the same input and generator give the same again: no hidden state."""
    run, built = _run(bench), bench.build()
    close("the second time", run(bench, built), run(bench, built), 0)


def draws_from_its_generator_alone(bench: Bench) -> None:
    """It leaves torch's global random numbers alone, so that other components keep theirs."""
    run, built = _run(bench), bench.build()
    with torch.random.fork_rng(devices=[]):
        before = torch.random.get_rng_state()
        run(bench, built)
        need(torch.equal(before, torch.random.get_rng_state()), "it drew global random numbers")


@torch.enable_grad()
def gradients_are_finite(bench: Bench) -> None:
    """Every weight that trains gets a gradient, and it is finite."""
    run, module = _run(bench), _module(bench)
    said = run(bench, module)
    if not said.requires_grad:
        raise SkippedError("has no weights that train")
    (said * bench.normal(*said.shape)).sum().backward()
    for name, weight in module.named_parameters():
        if not weight.requires_grad:
            continue
        need(weight.grad is not None, f"{name} gets no gradient; is it used at all?")
        bad = 0 if weight.grad is None else int((~weight.grad.isfinite()).sum())
        need(bad == 0, f"{bad} of {weight.numel()} gradients of {name} are not finite")


def survives_a_checkpoint(bench: Bench) -> None:
    """Its weights through safetensors into another one: it says the same."""
    run, one = _run(bench), _module(bench)
    other = bench.build(seed=1)
    state = {key: value.detach().contiguous() for key, value in one.state_dict().items()}
    try:
        other.load_state_dict(load(save(state)))
    except (RuntimeError, ValueError) as error:
        raise LawBrokenError(f"its state cannot be saved and loaded: {error}") from None
    close("after loading", run(bench, other), run(bench, one), 0)


LAWS = (
    says_what_it_is,
    needs_no_torch_before_build,
    settings_survive_a_recipe,
    builds_from_its_settings,
    builds_on_the_cpu,
    the_same_seed_gives_the_same,
    saying_twice_is_saying_the_same,
    draws_from_its_generator_alone,
    gradients_are_finite,
    survives_a_checkpoint,
)


def _run(bench: Bench) -> Any:
    if bench.kind not in RUNS:
        raise SkippedError("is no function of tensors")
    return RUNS[bench.kind]


def _said(bench: Bench) -> Tensor:
    said: Tensor = _run(bench)(bench, bench.build())
    return said.detach()


def _module(bench: Bench) -> nn.Module:
    built = bench.build()
    if not isinstance(built, nn.Module):
        raise SkippedError("is no module with weights")
    return built


@functools.cache
def _imports_torch(owner: str) -> bool:
    """In a process of its own, with this package's plugins alone; of a file, all plugin files."""
    is_file = owner.endswith(".py")
    environment = {
        **os.environ,
        # The path as it is here: pytest and others may have added to it.
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        ONLY: "" if is_file or owner == "addkit" else owner,
        WITHOUT: "",
        STRICT: "",
        FILES: os.environ.get(FILES, "") if is_file else "",
    }
    done = subprocess.run(
        [sys.executable, "-c", _LIGHT], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise SkippedError(f"a fresh process could not load it: {done.stderr.strip()[-200:]}")
    return bool(json.loads(done.stdout))
