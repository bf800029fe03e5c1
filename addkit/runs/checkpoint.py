"""Checkpoints: tensors in safetensors, everything else in JSON; written whole, then pointed at.

checkpoints/
    step-NNNNNNNN/      NAME.safetensors for each group of tensors, progress.json, checksums.json
    latest, best        each names one of them
    .step-NNNNNNNN.tmp  a checkpoint that is being written, by every process of a training
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from addkit.errors import AddkitWarning, RunError
from addkit.runs.atomic import delete_temporary, put_in_place, temporary_of
from addkit.runs.checkpoint_files import Keep, delete_old, path_of, point, pointed_at, seal
from addkit.runs.disk import disk_errors
from addkit.runs.folder import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self


Groups = Mapping[str, Mapping[str, Tensor]]
"""File name without ending -> tensors by name."""


class Staging:
    """Host memory for one set of tensors, reused: allocating it again costs more than the copy.

    Copies from a GPU go into pinned memory, in the order of its current stream: after the work that
    is queued and before any that follows, so that the caller may change the tensors without
    waiting.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, str], Tensor] = {}
        self._events: list[torch.cuda.Event] = []

    def copy(self, groups: Groups) -> Groups:
        """The same groups in this memory, contiguous; complete once `wait` returns."""
        self._buffers = {
            (file, name): _copied(value.detach(), self._buffers.get((file, name)))
            for file, group in groups.items()
            for name, value in group.items()
        }
        # An event behind the copies in the stream of each GPU.
        values = [value for group in groups.values() for value in group.values()]
        self._events = []
        for device in {value.device for value in values if value.is_cuda}:
            event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(device))
            self._events.append(event)
        return {
            file: {name: self._buffers[file, name] for name in group}
            for file, group in groups.items()
        }

    def wait(self) -> None:
        """Wait until copies from GPUs are complete; may be called in another thread."""
        # Events, not torch.cuda.synchronize: work queued after the copies need not end.
        for event in self._events:
            event.synchronize()


def _copied(value: Tensor, buffer: Tensor | None) -> Tensor:
    # The first copy of this tensor, or its shape has changed.
    if buffer is None or buffer.shape != value.shape or buffer.dtype != value.dtype:
        buffer = torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda)
    if value.is_cpu and value.is_contiguous():
        # numpy copies in one thread, which fills the memory's bandwidth by itself. torch would
        # start its threads for each tensor and wait for the last of them each time: ten times
        # slower where other processes compute too.
        source, target = (each.flatten().view(torch.uint8).numpy() for each in (value, buffer))
        np.copyto(target, source)
        return buffer
    return buffer.copy_(value, non_blocking=True)


Parts = Callable[[Path], Callable[[], None]]
"""Starts to write more files into a folder; returns a function that waits until they are whole."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The position of a training."""

    step: int = 0
    """Optimizer steps taken."""
    seconds: float = 0.0
    """Time spent training, over all sessions."""


class CheckpointWriter:
    """Writes a training's checkpoints, one at a time, in a background thread.

    At whatever moment the process is killed, `latest` names a checkpoint that is whole. A failed
    save leaves the older ones and the pointers as they were.
    """

    saved: Path | None
    """The newest checkpoint that is on the disk and whole."""

    def __init__(self, folder: Path, keep: Keep, *, asynchronous: bool = True) -> None:
        """Write into `folder`, whose temporaries have been cleaned.

        Args:
            folder: the run's `checkpoints`.
            keep: which old ones stay.
            asynchronous: False writes the tensors without a second copy in host memory, while the
                caller waits.
        """
        self.folder, self.keep, self.asynchronous = folder, keep, asynchronous
        # Here alone: a save must not make anew a folder that was moved away.
        with disk_errors(folder, 0, lambda: None):
            folder.mkdir(parents=True, exist_ok=True)
        # A resumed training has a whole checkpoint before it saves one.
        self.saved = pointed_at(folder, "latest")
        self._staging = Staging()
        self._pending: Future[list[str]] | None = None

    def save(
        self, progress: Progress, tensors: Groups, *, parts: Parts | None = None, wait: bool = False
    ) -> Path:
        """Write `step-N`, move `latest`, delete old ones; returns once the tensors are copied.

        Waits first for a save that is still being written. The tensors may change on return.

        Args:
            progress: stored as `progress.json`; its step names the folder.
            tensors: file name without ending -> tensors by name, on any device.
            parts: called with the temporary folder, into which it, or other processes, may write
                more files, in sub-folders too; the function it returns is called in the thread.
            wait: return only once the checkpoint is on the disk.

        Returns:
            the checkpoint's path, which exists once it is written.

        Raises:
            RunError: this save, or an earlier one that was not waited for, could not be written.
        """
        self.wait()
        path = path_of(self.folder, progress.step)
        # For the error of a full disk: what it takes, and what is free.
        needed = sum(value.nbytes for group in tensors.values() for value in group.values())
        with self._or_nothing(path, needed):
            temporary_of(path).mkdir(exist_ok=True)
            finish = parts(temporary_of(path)) if parts else lambda: None
            if self.asynchronous:
                tensors = self._staging.copy(tensors)

        def write() -> list[str]:
            with self._or_nothing(path, needed):
                self._staging.wait()
                _write(temporary_of(path), progress, tensors, finish)
                # `latest` moves only once the folder is whole, and old ones go only after that:
                # at any moment there is a whole checkpoint that `latest` names.
                put_in_place(temporary_of(path), path)
                point(self.folder, "latest", path, lambda: self.saved)
                self.saved = path
                return delete_old(self.folder, self.keep, progress.step)

        self._pending = _begin(write)
        if wait or not self.asynchronous:
            self.wait()
        return path

    def mark_best(self) -> None:
        """Let `best` name the newest checkpoint, once it is written. Returns at once."""
        # Behind the save that is pending, in a thread of its own, so that the training continues.
        before = self._pending

        def mark() -> list[str]:
            failures = before.result() if before else []
            if self.saved is not None:
                point(self.folder, "best", self.saved, lambda: self.saved)
            return failures

        self._pending = _begin(mark)
        if not self.asynchronous:
            self.wait()

    def wait(self) -> None:
        """Wait until nothing is being written. Raises `RunError` if the last save could not be
        written. Raised once.
        """
        if self._pending is None:
            return
        # Forgotten before its error is raised: the next save must not raise it again.
        wait_for([self._pending])
        pending, self._pending = self._pending, None
        for failure in pending.result():
            warnings.warn(failure, AddkitWarning, stacklevel=2)

    def close(self) -> None:
        """`wait`; may be called again."""
        self.wait()

    def __enter__(self) -> Self:
        """Return the writer; its pending save ends with the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """`close`; if the body has failed, a failed save is a warning, not to hide that error."""
        try:
            self.close()
        except RunError as failed:
            if error is None:
                raise
            warnings.warn(str(failed), AddkitWarning, stacklevel=2)

    @contextmanager
    def _or_nothing(self, path: Path, needed: int) -> Iterator[None]:
        """Remove the temporary folder on an error; an error of the disk is explained as such."""
        with disk_errors(path, needed, lambda: self.saved):
            try:
                yield
            except BaseException:
                # `latest` still names the checkpoint before; nothing else has changed.
                delete_temporary(temporary_of(path))
                raise


def _begin(write: Callable[[], list[str]]) -> Future[list[str]]:
    """Call it in a thread of its own.

    The thread ends with the call: a lock that is taken while data workers are forked would stay
    locked in them for ever.
    """
    thread = ThreadPoolExecutor(1, "checkpoint")
    future = thread.submit(write)
    thread.shutdown(wait=False)
    return future


def _write(
    temporary: Path, progress: Progress, tensors: Groups, finish: Callable[[], None]
) -> None:
    """Write all files of a checkpoint, checksums last."""
    for name, group in tensors.items():
        whole = {key: value.detach().cpu().contiguous() for key, value in group.items()}
        save_file(whole, temporary / f"{name}.safetensors")
    (temporary / "progress.json").write_text(json.dumps(asdict(progress)))
    # After this process's own files: others write theirs meanwhile.
    finish()
    seal(temporary)


def load_tensors(file: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU. Raises `RunError` if the file is missing, cut off or altered."""
    try:
        # safetensors, not pickle: reading a file executes nothing.
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{file}: cannot be read: {error}") from error


def load_progress(checkpoint: Path) -> Progress:
    """The training's position at this checkpoint."""
    file = checkpoint / "progress.json"
    try:
        return Progress(**read_json(file))
    except TypeError as error:
        raise RunError(f"{file}: cannot be used: {error}") from error
