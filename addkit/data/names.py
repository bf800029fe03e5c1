"""Existing files for names that differ in form: Unicode, backslashes, case, a missing ending."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from unicodedata import normalize

_NOTES = {".txt", ".json", ".xml", ".cls", ".caption"}
"""Endings of files beside images, which a name without an ending does not mean."""
_MOST = 5_000
"""Names of a folder that are searched for a similar one."""

_FORMS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("Unicode form", lambda name: normalize("NFC", name)),
    ("case", lambda name: normalize("NFC", name).casefold()),
    ("missing ending", lambda name: Path(normalize("NFC", name).casefold()).stem),
)
"""How names may differ, and what is equal then, from the least difference to the largest."""


@dataclass(frozen=True, slots=True)
class Near:
    """The one existing name that differs from a written one in its form alone."""

    name: str
    differs: str
    """Such as `backslashes, case`."""


class NameFinder:
    """Finds what exists for names of files that do not; each folder is listed once.

    Args:
        entries: the names in a folder, which is named as files are, "" for the root; none for a
            folder that does not exist.
    """

    def __init__(self, entries: Callable[[str], Iterable[str]]) -> None:
        self._entries = entries
        # The names of each folder, as keys: a table may have a hundred thousand of them.
        self._listed: dict[str, dict[str, None]] = {}
        # (folder, form) -> normal form -> names.
        self._by_form: dict[tuple[str, int], dict[str, list[str]]] = {}

    @classmethod
    def below(cls, root: Path) -> NameFinder:
        """Finds files below a folder."""

        def entries(folder: str) -> list[str]:
            try:
                return [entry.name for entry in (root / folder).iterdir()]
            except (OSError, ValueError):
                return []

        return cls(entries)

    def same(self, name: str) -> Near | None:
        """The existing name; None if there is none, or if it could be one of several."""
        found, differences, rest = self._follow(name)
        # A name that exists as it is differs in nothing, and is no answer.
        return Near(found, ", ".join(differences)) if differences and not rest else None

    def similar(self, name: str) -> str | None:
        """The nearest existing name of a file or folder, or None."""
        found, _, rest = self._follow(name)
        if not rest:
            return found
        by_lower = {each.casefold(): each for each in islice(self._names(found), _MOST)}
        wanted = normalize("NFC", rest[0]).casefold()
        # The same name with another ending is nearer than any other name.
        twins = [each for each in by_lower if Path(each).stem == Path(wanted).stem]
        near = twins or get_close_matches(wanted, by_lower, n=1)
        return str(Path(found, by_lower[near[0]])) if near else None

    def _follow(self, name: str) -> tuple[str, list[str], list[str]]:
        """How far the name leads: what exists, how it differs, and the parts that do not exist."""
        written = os.path.normpath(name)
        found, differences = Path(written).anchor, []
        if "\\" in written and os.sep == "/":
            differences.append("backslashes")
            written = os.path.normpath(written.replace("\\", "/"))
        parts = Path(written).relative_to(Path(written).anchor).parts
        for position, part in enumerate(parts):
            if part != ".." and part not in self._names(found):
                for form in range(len(_FORMS) if position + 1 == len(parts) else 2):
                    choices = self._equal(found, form, part)
                    if choices:
                        break
                if len(choices) != 1:
                    return found, differences, [*parts[position:]]
                (part,) = choices
                differences.append(_FORMS[form][0])
            found = str(Path(found, part))
        return found, list(dict.fromkeys(differences)), []

    def _names(self, folder: str) -> dict[str, None]:
        if folder not in self._listed:
            self._listed[folder] = dict.fromkeys(sorted(self._entries(folder)))
        return self._listed[folder]

    def _equal(self, folder: str, form: int, part: str) -> list[str]:
        label, normal = _FORMS[form]
        if (folder, form) not in self._by_form:
            table = self._by_form[folder, form] = defaultdict(list)
            for name in self._names(folder):
                if label != "missing ending" or Path(name).suffix.lower() not in _NOTES:
                    table[normal(name)].append(name)
        # What is written lacks its ending, so that it is compared whole with others' stems.
        wanted = _FORMS[1][1](part) if label == "missing ending" else normal(part)
        return self._by_form[folder, form].get(wanted, [])
