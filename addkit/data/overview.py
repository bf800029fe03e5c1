"""What a data set contains, for people to check before a training: classes, counts, doubts.

Computed from names, labels and equal files; no image is decoded.
"""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from unicodedata import normalize

import torch
from torch import Tensor

from addkit.data.folders import FolderStore, ImageStore
from addkit.data.formats import is_picture, read_endings
from addkit.data.settings import DataWarning
from addkit.plugin.protocols import DataSource
from addkit.plugin.values import DataFacts

FEW = 2
"""Training images of a class that are too few to learn from."""
MOST_NUMBERS = 10
"""Whole numbers of a column that may be classes, such as grades."""
_SHOWN = 12
"""Classes that are all shown; of more, some names are."""
_EXAMPLES = 3
_MOST_ODD = 1000
"""Files with other endings than images have whose first bytes are read."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The images of a data set's splits; what its method `contents` returns."""

    store: ImageStore
    paths: Mapping[str, Sequence[str]]
    labels: Mapping[str, Tensor]
    """By split, (n, N) class ids, or empty where images have texts instead."""
    doubts: tuple[str, ...] = ()
    """A sentence on each thing that is probably wrong, as far as the data set itself sees it."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The classes of a data set and what is probably wrong with it."""

    counts: Mapping[str, Mapping[str, int]]
    """Attribute, "" for a single label -> class -> training images."""
    left_out: str
    """What was left out of its folder, in one line; empty if nothing was."""
    doubts: tuple[str, ...]

    def rows(self) -> Iterator[tuple[str, str]]:
        """(heading, text): names with counts, the smallest and largest class, what is left out.

        Of more than 12 classes only some names are shown.
        """
        for attribute, counts in self.counts.items():
            names, start = list(counts), ""
            if len(names) > _SHOWN:
                # Evenly spaced, since neighbours have similar names.
                names = [names[i * (len(names) - 1) // 5] for i in range(6)]
                start = f"{len(counts):,} classes, such as "
            text = start + ", ".join(f"{name} {counts[name]:,}" for name in names)
            least, most = (choose(counts, key=counts.__getitem__) for choose in (min, max))
            if counts[least] < counts[most]:
                ends = f"{least} {counts[least]:,}", f"{most} {counts[most]:,}"
                text += f"; smallest {ends[0]}, largest {ends[1]}"
            yield f"training images of each {attribute or 'class'}", text
        if self.left_out:
            yield "left out", self.left_out.removeprefix("left out: ")


def overview(source: DataSource) -> Overview:
    """The overview of a data set; without counts and doubts if it has no method `contents`."""
    get_contents: Callable[[], Contents] | None = getattr(source, "contents", None)
    if get_contents is None:
        return Overview({}, "", ())
    contents, facts = get_contents(), source.facts
    counts = _counts(contents.labels["train"], facts) if contents.labels else {}
    doubts = (
        *contents.doubts,
        *_class_doubts(counts),
        *_unread_files(contents),
        *_equal_images(contents, facts),
    )
    return Overview(counts, contents.store.ignored.line(), doubts)


def check_data(source: DataSource) -> Overview:
    """The overview, after a `DataWarning` for each of its doubts."""
    result = overview(source)
    for doubt in result.doubts:
        warnings.warn(doubt, DataWarning, stacklevel=2)
    return result


def numbers_doubt(table: Path, column: str, values: Sequence[str]) -> Iterator[str]:
    """One doubt if a column's classes are measurements: numbers with decimals, or many of them."""
    try:
        numbers = {float(value.replace(",", ".")) for value in values}
    except ValueError:
        return
    if len(numbers) > MOST_NUMBERS or not all(number.is_integer() for number in numbers):
        yield (
            f'{table}: column "{column}" has {len(values)} numbers, which are read as classes, '
            f"such as {', '.join(values[:_EXAMPLES])}; classes have no order: group them into a "
            "few named ranges, or leave the column out"
        )


def _counts(labels: Tensor, facts: DataFacts) -> dict[str, dict[str, int]]:
    if facts.tag_shares:
        return {"tag": dict(zip(facts.token_names, labels.sum(0).tolist(), strict=True))}
    known = labels[labels >= 0]  # without missing ones
    totals: list[int] = torch.bincount(known, minlength=facts.num_classes).tolist()
    pairs = list(zip(facts.class_names, totals, strict=True))
    if not facts.token_names:
        return {"": dict(pairs)}
    ranges = zip(facts.token_names, facts.token_classes, strict=True)
    return {name: dict(pairs[start:stop]) for name, (start, stop) in ranges}


def _class_doubts(counts: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    for attribute, classes in counts.items():
        of = f' of "{attribute}"' if attribute else ""
        alike: dict[str, list[str]] = defaultdict(list)
        for name in classes:
            # Blanks between words too: "big cat", "big_cat".
            key = re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", normalize("NFKC", name).casefold())
            alike[key.strip()].append(name)
        if pairs := [
            " and ".join(f'"{n}"' for n in names) for names in alike.values() if names[1:]
        ]:
            yield (
                f"classes{of} that differ only in case, blanks or Unicode form: {_some(pairs)}; "
                "give them one name if they are one class"
            )
        if few := [f'"{name}" ({n})' for name, n in classes.items() if n <= FEW]:
            yield (
                f"classes{of} with {FEW} training images or fewer: {_some(few)}; "
                "add images, or leave these classes out"
            )


def _unread_files(contents: Contents) -> Iterator[str]:
    if not isinstance(contents.store, FolderStore):
        return
    endings = read_endings()
    # Only files with other endings are opened, and of many some.
    paths = (path for paths in contents.paths.values() for path in paths)
    odd = islice((path for path in paths if Path(path).suffix.lower() not in endings), _MOST_ODD)
    unread = []
    for path in odd:
        with suppress(OSError):  # named when it is decoded
            if not is_picture(path, read=True):
                unread.append(path)
    if unread:
        yield (
            f"{len(unread):,} files are in no format that is read: {_some(unread)}; convert or "
            'remove them, or set data.bad_files = "skip"'
        )


def _equal_images(contents: Contents, facts: DataFacts) -> Iterator[str]:
    where = [(split, i) for split, paths in contents.paths.items() for i in range(len(paths))]
    paths = [path for part in contents.paths.values() for path in part]
    labels = [row for part in contents.labels.values() for row in part.tolist()]
    found = contents.store.equal(paths)
    if found.unfinished:
        yield f"not searched for equal images: {found.unfinished}"
    relabelled, shared = [], []
    for group in found.groups:
        named: dict[tuple[int, ...], str] = {}
        for position in group:
            row = labels[position] if labels else []
            if facts.tag_shares:
                names = [tag for tag, label in zip(facts.token_names, row, strict=True) if label]
            else:
                names = [facts.class_names[label] for label in row if label >= 0]
            named.setdefault(tuple(row), f"{paths[position]} ({', '.join(names)})")
        if len(named) > 1:
            relabelled.append(" and ".join(named.values()))
        splits: dict[str, str] = {}
        for position in group:
            splits.setdefault(where[position][0], paths[position])
        if "train" in splits and len(splits) > 1:
            shared.append(" and ".join(f"{path} ({split})" for split, path in splits.items()))
    if relabelled:
        yield (
            f"images that occur with different labels, {len(relabelled):,}: {_some(relabelled)}; "
            "keep the right label alone"
        )
    if shared:
        yield (
            f"images that are in train and in another split, {len(shared):,}, so that its scores "
            f"are too high: {_some(shared)}; remove the copies"
        )


def _some(items: Sequence[str]) -> str:
    more = [f"and {len(items) - _EXAMPLES:,} more"] if len(items) > _EXAMPLES else []
    return ", ".join([*items[:_EXAMPLES], *more])
