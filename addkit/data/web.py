"""Download a picture from a web address, with limits of time and size."""

from __future__ import annotations

import re
from http.client import HTTPException
from io import BytesIO
from time import monotonic

from addkit.errors import DataError
from addkit.version import __version__

MOST_BYTES = 64 * 2**20
"""Of one download."""
PATIENCE = 10.0
"""Seconds without a byte after which a server counts as silent."""
LONGEST = 60.0
"""Seconds that one download may take."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


class Url(str):
    """An http or https address."""

    __slots__ = ()


def scheme_of(text: str) -> str | None:
    """The scheme of an address such as `https://...`, in lower case; None for a path."""
    match = _SCHEME.match(text)
    return match and match[1].lower()


def download(url: Url) -> BytesIO:
    """The content at an address, redirections to http and https followed.

    Raises `DataError`, which names the address, for a refused or broken connection, any status but
    200, more than `MOST_BYTES`, and a server that is silent or slow.
    """
    # Slow to import, and most predictions are of files.
    from urllib import request
    from urllib.error import HTTPError, URLError
    from urllib.parse import quote

    # Not the default opener: a redirection must not lead to a local file.
    opener = request.OpenerDirector()
    for handler in (
        *(request.ProxyHandler(), request.UnknownHandler(), request.HTTPHandler()),
        *(request.HTTPSHandler(), request.HTTPDefaultErrorHandler()),
        *(request.HTTPRedirectHandler(), request.HTTPErrorProcessor()),
    ):
        opener.add_handler(handler)
    content, end = BytesIO(), monotonic() + LONGEST
    try:
        # Blanks and letters outside ASCII, as browsers show them; what is quoted stays.
        asked = request.Request(
            quote(url, safe="%/:=&?~#+!$,;'@()*[]"), headers={"User-Agent": f"addkit/{__version__}"}
        )
        with opener.open(asked, timeout=PATIENCE) as response:
            while chunk := response.read1(1 << 16):
                content.write(chunk)
                if content.tell() > MOST_BYTES:
                    raise DataError(f"{url}: more than {MOST_BYTES >> 20} MiB")
                if monotonic() > end:
                    raise DataError(f"{url}: not complete after {LONGEST:g} s")
            if response.length:
                raise DataError(f"{url}: cut short, {response.length:,} bytes are missing")
    except HTTPError as error:
        with error:
            raise DataError(f"{url}: HTTP {error.code} ({error.reason})") from None
    except TimeoutError:
        raise DataError(f"{url}: no answer within {PATIENCE:g} s") from None
    except (OSError, HTTPException, ValueError) as error:
        # URLError wraps what the socket raised.
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, TimeoutError):
            reason = f"no answer within {PATIENCE:g} s"
        reason = getattr(reason, "strerror", None) or reason or type(error).__name__
        raise DataError(f"{url}: {reason}") from None
    content.seek(0)
    return content
