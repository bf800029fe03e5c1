"""Public names that are imported on first use, so that `import addkit` loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from addkit.renamed import refuse_old_name


def lazy(module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for a module that imports each of its names from the module that defines it.

    Args:
        module: the name of the module that gets the function.
        homes: module -> the names that it defines, with spaces between them.
    """
    # One entry a name: a look-up in the lists would try each home in turn.
    home_of = {name: home for home, names in homes.items() for name in names.split()}

    def get(name: str) -> Any:
        if name not in home_of:
            refuse_old_name(module, name)
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(import_module(home_of[name]), name)

    return get
