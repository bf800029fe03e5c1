"""A disk that is full or read-only from its n-th write on."""

from __future__ import annotations

import builtins
import errno
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.runs import checkpoint

NUMBERS = (errno.ENOSPC, errno.EROFS, errno.EACCES)
REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EROFS: "Read-only file system",
    errno.EACCES: "Permission denied",
}
WRITES = ("mkdir", "replace", "rename", "fsync")
DELETIONS = ("unlink", "rmdir", "remove")


class FaultyDisk:
    """Counts the writes below a folder, and fails from one of them on.

    Args:
        patch: replaces the functions of the system.
        root: the folder.
        first: number of the first write that fails, from 1; 0: none does.
        number: the system's error.
    """

    def __init__(
        self, patch: pytest.MonkeyPatch, root: Path, first: int = 0, number: int = errno.ENOSPC
    ) -> None:
        self.root, self.first, self.number = root, first, number
        self.writes: list[str] = []
        """Each write: what it does, and the file, without the numbers in temporaries' names."""
        for name in WRITES:
            patch.setattr(os, name, self._checked(name, getattr(os, name)))
        for name in DELETIONS:
            patch.setattr(os, name, self._deletion(getattr(os, name)))
        opened = self._opened(io.open)
        patch.setattr(io, "open", opened)
        patch.setattr(builtins, "open", opened)
        patch.setattr(os, "open", self._opened_by_number(os.open))
        save = checkpoint.save_file

        def save_file(tensors: Any, file: Path) -> None:
            self._write("save", file)
            save(tensors, file)

        patch.setattr(checkpoint, "save_file", save_file)

    @property
    def broken(self) -> bool:
        """True once a write has failed."""
        return bool(self.first) and len(self.writes) >= self.first

    def _write(self, what: str, path: Any) -> None:
        # The link that /proc has for an open file leads to it.
        named = Path(f"/proc/self/fd/{path}").readlink() if isinstance(path, int) else Path(path)
        path = named.absolute()
        if not path.is_relative_to(self.root):
            return
        name = path.relative_to(self.root).as_posix()
        self.writes.append(f"{what} {re.sub(r'[0-9]+', '0', name)}")
        if self.broken:
            # As the system: an open file's error has no name.
            names = () if what == "fsync" else (str(named),)
            raise OSError(self.number, os.strerror(self.number), *names)

    def _checked(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def checked(path: Any, *more: Any, **options: Any) -> Any:
            self._write(name, path)
            return call(path, *more, **options)

        return checked

    def _deletion(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def deletion(path: Any, *more: Any, **options: Any) -> Any:
            # A full disk gets room by a deletion; the others refuse it.
            if self.broken and self.number != errno.ENOSPC:
                raise OSError(self.number, os.strerror(self.number), str(path))
            return call(path, *more, **options)

        return deletion

    def _opened(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = "r", *more: Any, **options: Any) -> Any:
            if set(mode) & set("wax+") and not isinstance(file, int):
                try:
                    self._write("open", file)
                except OSError:
                    # A full disk is noticed by the first bytes.
                    if self.number != errno.ENOSPC or not Path("/dev/full").exists():
                        raise
                    call(file, mode, *more, **options).close()
                    file = "/dev/full"
            return call(file, mode, *more, **options)

        return opened

    def _opened_by_number(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def opened(path: Any, flags: int, *more: Any, **options: Any) -> Any:
            if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR) and "dir_fd" not in options:
                self._write("open", path)
            return call(path, flags, *more, **options)

        return opened
