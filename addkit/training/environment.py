"""What a run was made with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from addkit.plugin import load_registry
from addkit.plugin.identity import identity_of
from addkit.recipe import Recipe

PACKAGES = ("addkit", "torch", "torchvision", "timm", "safetensors", "numpy", "pillow")


def pick_device() -> str:
    """`cuda` if there is a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def environment(recipe: Recipe, device: str) -> dict[str, Any]:
    """Versions, hardware and who provides each component."""
    registry = load_registry()
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else device,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "components": {
            kind: f"{choice.name} ({identity_of(registry.get(kind, choice.name))})"
            for kind, choice in recipe.choices.items()
        },
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
