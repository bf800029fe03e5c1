"""A pack, and servers that have it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from addkit.packs import pack

from .servers import Hub, served

UseHub = Callable[[str], None]


@pytest.fixture(scope="session")
def digits_pack(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("packs") / "digits.zip"
    pack(digits_run, file, license="mit")
    return file


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub that huggingface_hub talks to, with a cache and a token of its own."""
    from huggingface_hub import constants

    hub = Hub()
    with served(hub) as (url, log):
        # The library reads HF_ENDPOINT, HF_HOME and others once, when it is imported.
        settings = {
            "ENDPOINT": url,
            "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(tmp_path / "hub"),
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_DISABLE_PROGRESS_BARS": True,
        }
        for name, value in settings.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", hub.token)
        hub.log = log
        yield hub


@pytest.fixture
def web() -> Callable[..., AbstractContextManager[tuple[str, list[str]]]]:
    """Starts a server that answers by a function."""
    return served
