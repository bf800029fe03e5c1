"""`addkit env`: versions, devices and settings for a bug report, without secrets."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeAlias

from addkit.cli.options import JsonOption
from addkit.plugin.selection import REPORTED_BY

Facts: TypeAlias = dict[str, Any]
"""Facts of a bug report by name, as `env --json` prints them."""

PACKAGES = (
    *("torch", "torchvision", "timm", "open_clip_torch", "torchmetrics", "safetensors", "numpy"),
    *("pillow", "nltk", "matplotlib", "pydantic", "pluggy", "typer", "rich", "tokenizers"),
)
"""Packages that addkit imports, optional ones included."""

VARIABLES = (
    *("CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_NNODES", "SLURM_PROCID", "TORCH_HOME", "HF_HOME"),
    *(
        "HF_HUB_OFFLINE",
        "HF_ENDPOINT",
        "NLTK_DATA",
        "NO_COLOR",
        "FORCE_COLOR",
        "TERM",
        "CI",
        "COLUMNS",
    ),
    *("HF_ENDPOINT", "PYTHONIOENCODING", "PYTHONUTF8", "LANG", "LC_ALL", "TMPDIR"),
)
PREFIXES = ("ADDKIT_", "NCCL_", "GLOO_", "TORCH_NCCL_", "TORCHINDUCTOR_", "PYTORCH_")
SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|CREDENTIAL|KEY", re.IGNORECASE)
"""Names of variables whose values are never printed: bug reports are public."""


def environment() -> Facts:
    """Facts for a bug report as plain data; those that are unavailable are None.

    Each fact has its own error handling, since this command runs where something is broken.
    """
    from addkit.version import __version__

    packages: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    try:
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):  # Windows and macOS lack the function or a name.
        memory = None
    names = [name for name in os.environ if name in VARIABLES or name.startswith(PREFIXES)]
    return {
        "addkit": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": platform.platform(),
        "cores": os.cpu_count(),
        # Fewer than all cores in a container or under a cluster's scheduler.
        "usable cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory GiB": memory,
        "packages": packages,
        **_torch(),
        "nltk data": {"wordnet": _wordnet()},
        **_plugins(),
        "variables": {
            name: "set" if SECRET.search(name) else os.environ[name]
            for name in sorted(names)
            if name != REPORTED_BY  # The number of this very process.
        },
    }


def _torch() -> Facts:
    """Devices and libraries that torch can use; the error alone if torch cannot be imported."""
    try:
        import torch
        from torch import distributed
    except Exception as error:
        return {"torch cannot be imported": f"{type(error).__name__}: {error}"}
    spread = distributed.is_available()
    cudnn: Any = torch.backends.cudnn
    nccl: str | None = None
    if spread and distributed.is_nccl_available():
        # Its version needs a GPU: without one the call fails.
        library: Any = torch.cuda.nccl
        usable = torch.cuda.is_available()
        nccl = ".".join(map(str, library.version())) if usable else "built in"
    devices: list[Facts] = []
    for number in range(torch.cuda.device_count()):
        try:
            device = torch.cuda.get_device_properties(number)
        except RuntimeError as error:  # A GPU that is seen and cannot be used.
            devices.append({"error": str(error)})
            continue
        devices.append(
            {
                "name": device.name,
                "memory GiB": round(device.total_memory / 2**30, 1),
                "capability": f"{device.major}.{device.minor}",
            }
        )
    return {
        "torch": {
            "CUDA": torch.version.cuda,
            "cuDNN": cudnn.version(),
            "NCCL": nccl,
            "gloo": spread and distributed.is_gloo_available(),
            "GPU usable": torch.cuda.is_available(),
            "threads": torch.get_num_threads(),
        },
        "driver": _driver(),
        "GPU": devices,
    }


def _driver() -> str | None:
    """The driver of the first GPU, as nvidia-smi reports it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        # nvidia-smi hangs where the driver does.
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.split()), None)


def _wordnet() -> str:
    """The state of WordNet, which METEOR needs."""
    try:
        from addkit.metrics.captions import meteor_available

        return meteor_available() or "installed"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _plugins() -> Facts:
    """Providers of components, and broken plugins."""
    from addkit.errors import AddkitError
    from addkit.plugin import load_registry

    try:
        registry = load_registry()
    except AddkitError as error:
        return {"plugins": [], "broken plugins": [str(error)]}
    providers = dict.fromkeys(each.provider for each in registry.components.values())
    return {"plugins": list(providers), "broken plugins": list(map(str, registry.broken))}


def env(json: JsonOption = False) -> None:
    """Print versions, devices and settings for a bug report, without secrets.

    addkit env
    """
    from addkit.cli.env import environment
    from addkit.cli.output import Output

    facts = environment()
    output = Output(json=json)
    if json:
        output.data(facts)
    else:
        rows: list[tuple[str, str]] = []
        for name, value in facts.items():
            if name in ("packages", "variables"):
                # Their names are unique by themselves.
                rows += [(key, _cell(entry)) for key, entry in value.items()]
            elif isinstance(value, dict):
                rows += [(f"{name} {key}", _cell(entry)) for key, entry in value.items()]
            elif isinstance(value, list):
                # A row even for an empty list: "no GPU" is a fact of a bug report.
                rows += [(name, _cell(entry)) for entry in value or [None]]
            else:
                rows.append((name, _cell(value)))
        output.table(["fact", "value"], rows, words=2)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(entry)}" for key, entry in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
