"""Built-in components by name, as recipes build them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from addkit.plugin import Problem, load_registry


@pytest.fixture(scope="session")
def build() -> Callable[..., Any]:
    """`build(kind, name, problem facts, **settings)`; weights depend on nothing but that."""

    def make(kind: str, name: str, facts: dict[str, Any] | None = None, **settings: Any) -> Any:
        spec = load_registry().get(kind, name).spec
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return spec.create(spec.settings.model_validate(settings), Problem(**(facts or {})))

    return make
