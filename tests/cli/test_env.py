from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import addkit as package
from addkit.cli import env
from addkit.errors import PluginError

Cli = Callable[..., Any]


def test_what_a_bug_report_needs(addkit: Cli) -> None:
    said = addkit("env", "--json")
    told = said.json
    assert told["addkit"] == package.__version__
    assert told["python"] == ".".join(map(str, sys.version_info[:3]))
    assert told["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert set(told["packages"]) == set(env.PACKAGES)
    assert {"CUDA", "cuDNN", "NCCL", "gloo", "GPU usable", "threads"} == set(told["torch"])
    assert told["cores"] >= 1
    assert told["nltk data"]["wordnet"]
    assert told["plugins"][0] == f"addkit {package.__version__}"
    assert told["broken plugins"] == []
    assert isinstance(told["GPU"], list)


def test_for_people(addkit: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    said = addkit("env")
    cells = dict(line.split(maxsplit=1) for line in said.out.splitlines())
    assert cells["addkit"].strip() == package.__version__
    assert cells["OMP_NUM_THREADS"].strip() == "1"
    assert said.err == ""


def test_variables_that_matter_and_no_secrets(addkit: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "ADDKIT_DEBUG": "0",
        "CUDA_VISIBLE_DEVICES": "",
        "NCCL_DEBUG": "INFO",
        "ADDKIT_API_TOKEN": "hush",
        "WANDB_API_KEY": "hush",
        "AWS_SECRET_ACCESS_KEY": "hush",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    told = addkit("env", "--json").json["variables"]
    assert (told["ADDKIT_DEBUG"], told["NCCL_DEBUG"]) == ("0", "INFO")
    assert told["CUDA_VISIBLE_DEVICES"] == ""
    assert told["ADDKIT_API_TOKEN"] == "set"
    assert not {"WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY"} & set(told)
    assert "hush" not in addkit("env").out


def test_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="Card", total_memory=80 * 2**30, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 27, 3))
    told = env.environment()
    assert told["GPU"] == [{"name": "Card", "memory GiB": 80.0, "capability": "9.0"}]
    assert (told["torch"]["NCCL"], told["torch"]["GPU usable"]) == ("2.27.3", True)


def test_a_gpu_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(number: int) -> None:
        raise RuntimeError("CUDA error: device lost")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lost)
    assert env.environment()["GPU"] == [{"error": "CUDA error: device lost"}]


@pytest.mark.parametrize(
    ("script", "told"),
    [("echo 580.1", "580.1"), ("exit 9", None), ("echo", None)],
)
def test_the_driver(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, script: str, told: str | None
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(tool))
    assert env.environment()["driver"] == told


def test_what_is_broken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def clash() -> None:
        raise PluginError("two provide one name")

    monkeypatch.setattr("addkit.plugin.load_registry", clash)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "addkit.metrics.captions", None)
    told = env.environment()
    assert told["broken plugins"] == ["two provide one name"]
    assert told["torch cannot be imported"].startswith("ModuleNotFoundError: ")
    assert told["nltk data"]["wordnet"].startswith("ModuleNotFoundError: ")
