"""Packs elsewhere: downloads of a URL, and repositories of the Hugging Face Hub. No torch."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, TypeGuard
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from addkit.errors import AddkitError, RunError, UsageError
from addkit.runs.atomic import CHECKSUMS, whole_file
from addkit.runs.checkpoint_files import digest_of
from addkit.runs.disk import disk_errors, format_bytes
from addkit.runs.packs import AT_ONCE, listed
from addkit.version import __version__

LIMIT = "ADDKIT_MAX_DOWNLOAD_MB"
"""Environment variable: the most megabytes (10^6 bytes) of a download."""
USUAL_LIMIT = 4000
SECONDS = 30
"""Longest silence of a server."""
PIN = re.compile(r"sha256=([0-9a-f]{64})")
HUB = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@(\S+))?", re.ASCII)


def is_remote(where: object) -> TypeGuard[str]:
    """True for `SCHEME://...`, which is no path."""
    return isinstance(where, str) and re.match(r"[A-Za-z][\w+.-]*://", where) is not None


def most_bytes() -> int:
    """Bytes that a download may have. Raises `UsageError` if the variable has no such number."""
    text = os.environ.get(LIMIT, "") or str(USUAL_LIMIT)
    if not re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII):
        raise UsageError(f"{LIMIT}={text}: give a whole number of megabytes from 1 on")
    return int(text) * 10**6


def cache_folder() -> Path:
    """The folder of downloaded packs, below XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "addkit" / "packs"


class _SafeRedirects(HTTPRedirectHandler):
    """Follows redirects from http to https, and none that leaves the web or its encryption."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme != "https" and scheme != urlsplit(req.full_url).scheme:
            raise RunError(f"{req.full_url}: is redirected to {newurl}, which is refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str) -> tuple[Path, str]:
    """Download what a URL names into the cache; return the file and its SHA-256.

    With `#sha256=...` behind the URL, other content is refused, and a file that is in the cache is
    not downloaded again. A download that fails leaves the cache as it was.

    Raises:
        UsageError: no such URL, or one with a password.
        RunError: the server is not reached, sends too much, too little or other content.
    """
    address, _, fragment = url.partition("#")
    pin = PIN.fullmatch(fragment)
    if fragment and not pin:
        raise UsageError(f"{url}: only #sha256= and 64 hexadecimal digits may follow a URL")
    # By the address, so that newer content replaces older; with a name for people to read.
    name = re.sub(r"[^\w.-]", "-", _path_of(address).rpartition("/")[2], flags=re.ASCII)[-80:]
    file = cache_folder() / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}-{name}"
    if pin and file.is_file() and digest_of(file) == pin[1]:
        return file, pin[1]
    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with whole_file(file) as temporary:
        with temporary.open("wb") as target:
            for content in _content(address):
                digest.update(content)
                target.write(content)
        if pin and digest.hexdigest() != pin[1]:
            raise RunError(f"{address}: other content: its sha256 is {digest.hexdigest()}")
    return file, digest.hexdigest()


def _path_of(address: str) -> str:
    """The path of a URL; raises `UsageError` for one that is not downloaded."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as error:
        raise UsageError(f"{address}: no URL: {error}") from None
    if not usable:
        raise UsageError(f"{address}: give https://HOST/NAME.zip, http://... or hf://ORG/NAME")
    if parts.username is not None or re.search(r"[^!-~]", address):
        raise UsageError(f"{address}: a URL must have no password, and no spaces or umlauts")
    return parts.path


def _content(address: str) -> Iterator[bytes]:
    """The server's answer in parts; raises `RunError` if it is not whole or too large."""
    opener = OpenerDirector()
    # Not `build_opener`, which also opens files and FTP.
    for handler in (
        *(ProxyHandler(), HTTPHandler(), HTTPSHandler(), _SafeRedirects()),
        *(HTTPDefaultErrorHandler(), HTTPErrorProcessor()),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", f"addkit/{__version__}")]
    count, most = 0, most_bytes()
    too_large = f"{address}: more than {format_bytes(most)}, see {LIMIT}"
    try:
        with opener.open(address, timeout=SECONDS) as answer:
            length = answer.headers.get("Content-Length", "")
            if length.isdecimal() and int(length) > most:
                raise RunError(too_large)
            while content := answer.read(AT_ONCE):
                count += len(content)
                if count > most:
                    raise RunError(too_large)
                yield content
    except HTTPError as error:
        raise RunError(f"{address}: the server answers {error.code} {error.reason}") from error
    except URLError as error:
        raise RunError(f"{address}: cannot be reached: {error.reason}") from error
    except (OSError, ValueError, HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise RunError(f"{address}: the download broke off: {reason}; try again") from error
    if length.isdecimal() and count != int(length):
        raise RunError(f"{address}: the download broke off: {count:,} of {length} bytes; try again")


def hub_folder(where: str) -> Path:
    """Download a pack from the Hugging Face Hub; return its folder in huggingface_hub's cache.

    Only files that the pack's checksums name are downloaded. HF_ENDPOINT, HF_TOKEN,
    HF_HUB_OFFLINE and HF_HOME count as huggingface_hub reads them.

    Args:
        where: `hf://ORG/NAME`, or `hf://ORG/NAME@REVISION` for a branch, tag or commit.

    Raises:
        UsageError: no such name.
        RunError: no such repository or revision, no access to it, or no pack in it.
    """
    match = HUB.fullmatch(where)
    if match is None:
        raise UsageError(f"{where}: give hf://ORG/NAME or hf://ORG/NAME@REVISION")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError, HFValidationError

    repository, revision = match.groups()
    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=[CHECKSUMS]))
        if not (folder / CHECKSUMS).is_file():
            raise RunError(f"{where}: no pack: it has no {CHECKSUMS}; `addkit push` uploads one")
        # The commit from here on: a branch may move meanwhile.
        wanted, commit = [CHECKSUMS, *listed(folder)], folder.name
        with suppress(DryRunError):  # Offline, where nothing is downloaded.
            files = snapshot_download(
                repository, revision=commit, allow_patterns=wanted, dry_run=True
            )
            total, most = sum(file.file_size or 0 for file in files), most_bytes()
            if total > most:
                sizes = f"{format_bytes(total)}, more than {format_bytes(most)}"
                raise RunError(f"{where}: {sizes}, see {LIMIT}")
        return Path(snapshot_download(repository, revision=commit, allow_patterns=wanted))
    except AddkitError:
        raise
    except HFValidationError as error:
        raise UsageError(f"{where}: no name of a repository: {error}") from error
    # The errors of its HTTP library differ by version, and have no base in common.
    except Exception as error:
        raise RunError(f"{where}: {hub_error(error)}") from error


def hub_error(error: Exception) -> str:
    """What went wrong with a hub, in one line."""
    from huggingface_hub.errors import (
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # An upload that fails is wrapped once more.
    error = error.__cause__ if isinstance(error.__cause__, OSError) else error
    access = "check HF_TOKEN, or log in by `hf auth login`"
    if isinstance(error, RevisionNotFoundError):
        return "no such branch, tag or commit"
    if isinstance(error, RepositoryNotFoundError):
        return f"no such repository, or one that is not open to you: {access}"
    if isinstance(error, LocalEntryNotFoundError):
        return "the hub cannot be reached, and the files are not in the cache"
    if getattr(getattr(error, "response", None), "status_code", 0) in (401, 403):
        return f"the hub does not allow it: {access}"
    return " ".join(str(error).split())[:400] or type(error).__name__
