"""What addkit runs with: versions, hardware, plugins and the variables that change what it does."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from addkit.plugin.selection import REPORTED_BY

PACKAGES = (
    *("torch", "torchvision", "timm", "open_clip_torch", "torchmetrics", "safetensors", "numpy"),
    *("pillow", "nltk", "matplotlib", "pydantic", "pluggy", "typer", "rich", "tokenizers"),
)
"""What addkit imports, and what it imports where it is there."""

VARIABLES = (
    *("CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_NNODES", "SLURM_PROCID", "TORCH_HOME", "HF_HOME"),
    *("HF_HUB_OFFLINE", "NLTK_DATA", "NO_COLOR", "FORCE_COLOR", "TERM", "CI", "COLUMNS"),
    *("PYTHONIOENCODING", "PYTHONUTF8", "LANG", "LC_ALL", "TMPDIR"),
)
PREFIXES = ("ADDKIT_", "NCCL_", "GLOO_", "TORCH_NCCL_", "TORCHINDUCTOR_", "PYTORCH_")
SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|CREDENTIAL|KEY", re.IGNORECASE)
"""Names of variables whose values are never printed."""


def environment() -> dict[str, Any]:
    """Everything that a bug report needs, as plain data; what cannot be had is None."""
    from addkit.version import __version__

    return {
        "addkit": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "usable cores": _usable_cores(),
        "memory GiB": _memory(),
        "packages": {name: _version(name) for name in PACKAGES},
        **_torch(),
        "nltk data": {"wordnet": _wordnet()},
        **_plugins(),
        "variables": _variables(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _usable_cores() -> int | None:
    """Cores that this process may use, where the system reports them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _memory() -> float | None:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    return round(size / 2**30, 1)


def _torch() -> dict[str, Any]:
    """What torch can use; only the reason where torch itself is broken."""
    try:
        import torch
        from torch import distributed
    except Exception as error:
        return {"torch cannot be imported": f"{type(error).__name__}: {error}"}
    spread = distributed.is_available()
    cudnn: Any = torch.backends.cudnn
    return {
        "torch": {
            "CUDA": torch.version.cuda,
            "cuDNN": cudnn.version(),
            "NCCL": _nccl(),
            "gloo": spread and distributed.is_gloo_available(),
            "GPU usable": torch.cuda.is_available(),
            "threads": torch.get_num_threads(),
        },
        "driver": _driver(),
        "GPU": [_gpu(number) for number in range(torch.cuda.device_count())],
    }


def _nccl() -> str | None:
    import torch
    from torch import distributed

    if not (distributed.is_available() and distributed.is_nccl_available()):
        return None
    if not torch.cuda.is_available():
        return "built in"
    nccl: Any = torch.cuda.nccl
    return ".".join(map(str, nccl.version()))


def _gpu(number: int) -> dict[str, Any]:
    import torch

    try:
        facts = torch.cuda.get_device_properties(number)
    except RuntimeError as error:
        return {"error": str(error)}
    return {
        "name": facts.name,
        "memory GiB": round(facts.total_memory / 2**30, 1),
        "capability": f"{facts.major}.{facts.minor}",
    }


def _driver() -> str | None:
    """The driver of the first GPU, as nvidia-smi reports it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    ask = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.split()), None)


def _wordnet() -> str:
    """Whether METEOR can be computed."""
    try:
        from addkit.metrics.captions import meteor_available

        return meteor_available() or "installed"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _plugins() -> dict[str, Any]:
    """Who provides components, and which plugins cannot."""
    from addkit.errors import AddkitError
    from addkit.plugin import load_registry

    try:
        registry = load_registry()
    except AddkitError as error:
        return {"plugins": [], "broken plugins": [str(error)]}
    providers = dict.fromkeys(one.provider for one in registry.components.values())
    return {"plugins": list(providers), "broken plugins": list(map(str, registry.broken))}


def _variables() -> dict[str, str]:
    known = (name for name in os.environ if name in VARIABLES or name.startswith(PREFIXES))
    names = [name for name in known if name != REPORTED_BY]
    return {name: "set" if SECRET.search(name) else os.environ[name] for name in sorted(names)}
