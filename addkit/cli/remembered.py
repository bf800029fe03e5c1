"""What the plugins of this environment provide, as the registry last told it.

A shell's tab and `addkit plugins list` must be quick, and a plugin cannot be imported without
pydantic. What was told is good as long as nothing that it follows from has changed: the folders
that Python imports from, the plugins' own files, this addkit, and which plugins are chosen.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from addkit import __version__

GROUP = "[addkit]"
"""Of entry points."""
CHOOSING = ("ADDKIT_PLUGINS", "ADDKIT_NO_PLUGINS", "ADDKIT_PLUGIN_FILES", "ADDKIT_STRICT_PLUGINS")
"""`addkit.plugin.selection`, which would load pydantic."""
OWN = Path(__file__).parent
"""Its JSON files follow addkit's own components."""
MOST = 2000
"""Files of a package that are looked at in vain: what has more is asked each time."""


def only_built_ins() -> bool:
    """True if no plugin is installed or asked for."""
    return not (os.environ.get("ADDKIT_PLUGIN_FILES") or list(_modules()))


def recall(what: str) -> Any:
    """What `remember` was last told under this name; None if that is no longer sure."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        told = json.loads(_file(what).read_text("utf-8"))
        if told["state"] == _state():
            return told["value"]
    return None


def remember(what: str, value: Any) -> None:
    """Keep what the registry told; no error where nothing can be written."""
    from addkit.runs.atomic import write_json

    state = _state()
    with suppress(OSError):
        if state is not None:
            _file(what).parent.mkdir(parents=True, exist_ok=True)
            write_json(_file(what), {"state": state, "value": value})


def _file(what: str) -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    where = json.dumps([sys.prefix, *map(os.environ.get, CHOOSING)])
    return home / "addkit" / f"{what}-{sha256(where.encode()).hexdigest()[:12]}.json"


def _state() -> str | None:
    """A hash of all that decides what plugins provide; None if that is too much to look at."""
    chosen = os.environ.get("ADDKIT_PLUGIN_FILES", "").split(os.pathsep)
    looked_at = [Path(place) for place in sys.path] + sorted(OWN.glob("*.json"))
    looked_at += [Path(file) for file in chosen if file]
    for module in sorted(set(_modules())):
        files = list(_files(module.partition(".")[0]))
        if not files:
            return None
        looked_at += files
    seen = [_stamp(path) for path in looked_at]
    return sha256(json.dumps([__version__, sys.version, seen]).encode()).hexdigest()


def _stamp(path: Path) -> list[Any]:
    with suppress(OSError):
        told = path.stat()
        return [str(path), told.st_mtime_ns, told.st_size]
    return [str(path)]


def _files(package: str) -> list[Path]:
    """Python files of a package; none if it cannot be found, or is one of very many."""
    from importlib.util import find_spec

    with suppress(ImportError, ValueError):
        spec = find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            places = map(Path, spec.submodule_search_locations)
            files = sorted(file for place in places for file in place.rglob("*.py"))
            return files if len(files) <= MOST else []
        if spec is not None and spec.origin:
            return [Path(spec.origin)]
    return []


def _modules() -> Iterator[str]:
    """Modules that entry points of ours name."""
    # importlib.metadata would say it as well, and takes as long to import as all the rest.
    for place in sys.path:
        for file in Path(place).glob("*.dist-info/entry_points.txt"):
            yield from _named(file.read_text("utf-8", "replace"))


def _named(text: str) -> Iterator[str]:
    if GROUP in text:
        for line in text.partition(GROUP)[2].partition("\n[")[0].splitlines():
            _, equals, target = line.partition("=")
            if equals:
                yield target.partition(":")[0].strip()
