"""WordNet on this machine, as nltk's data or as Debian installs it. Imports nltk (a second)."""

from __future__ import annotations

import warnings
from contextlib import suppress
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import nltk.data
from nltk.corpus.reader.wordnet import WordNetCorpusReader

_NLTK = ("corpora/wordnet", "corpora/wordnet.zip/wordnet/")
"""nltk's downloader may leave the archive packed."""
_DEBIAN = Path("/usr/share/wordnet")
"""Where Debian's wordnet-base puts the data files."""
_LEXICOGRAPHER_FILES = 45


def find_wordnet() -> Any | None:
    """Path of WordNet: nltk's own pointer to the first match, Debian's folder, or None."""
    for name in _NLTK:
        with suppress(LookupError):
            return nltk.data.find(name)
    return _DEBIAN if (_DEBIAN / "data.noun").is_file() else None


@cache
def open_wordnet(home: Any) -> WordNetCorpusReader:
    """A reader of the path from `find_wordnet`; opened once a process, in a second or two."""
    # The multilingual functions need another corpus; METEOR takes English synonyms alone.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The multilingual functions are not available")
        if not isinstance(home, Path):
            return WordNetCorpusReader(home, None)
        # nltk reads below its own data path only, so Debian's folder becomes a part of it.
        if str(home) not in nltk.data.path:
            nltk.data.path.append(str(home))
        return _DebianReader(str(home), None)


class _DebianReader(WordNetCorpusReader):  # type: ignore[misc]
    """nltk's reader for a folder without `lexnames`, and without `index.sense` where need be."""

    def open(self, file: str) -> Any:
        # METEOR has no use for the names, but there must be as many as the data files speak of.
        if file == "lexnames":
            return StringIO("".join(f"{n:02} {n} 1\n" for n in range(_LEXICOGRAPHER_FILES)))
        return super().open(file)

    def map_wn(self, version: str = "wordnet") -> None:
        """No map between versions: it serves other languages than English."""
