from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from addkit.errors import AddkitWarning, RunError
from addkit.runs import checkpoint as checkpoints
from addkit.runs import checkpoint_files
from addkit.runs.checkpoint import CheckpointWriter, Progress, load_progress, load_tensors
from addkit.runs.checkpoint_files import Keep, checkpoint_of, newest_whole, pointed_at


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _tensors(value: float) -> dict[str, dict[str, Tensor]]:
    return {
        "raw": {
            "transposed": torch.full((5, 7), value).T,
            "one": torch.tensor(value),
            "none": torch.zeros(0),
            "low": torch.full((3,), value, dtype=torch.bfloat16),
            "trained": torch.nn.Parameter(torch.full((2,), value)),
        },
        "optimizer": {"step": torch.tensor(3)},
    }


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_asynchronous_and_synchronous_saves_write_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for asynchronous in (True, False):
        folder = tmp_path / str(asynchronous)
        with CheckpointWriter(folder, Keep(), asynchronous=asynchronous) as writer:
            path = writer.save(Progress(3, 1.5), _tensors(2.0))
        written.append(_contents(path))
    assert written[0] == written[1]
    assert len(written[0]) == 4


def test_a_synchronous_save_has_written_when_it_returns(tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path, Keep(), asynchronous=False)
    assert writer.save(Progress(3), _tensors(2.0)) == writer.saved == checkpoint_of(tmp_path)


def test_an_asynchronous_save_can_be_waited_for(tmp_path: Path) -> None:
    with CheckpointWriter(tmp_path, Keep()) as writer:
        assert writer.saved is None
        path = writer.save(Progress(3), _tensors(2.0), wait=True)
        assert path == writer.saved == checkpoint_of(tmp_path)
    assert CheckpointWriter(tmp_path, Keep()).saved == path


class Gate:
    """Holds the writing thread until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def parts(self, temporary: Path) -> Callable[[], None]:
        return lambda: self._pass(temporary)

    def _pass(self, temporary: Path) -> None:
        assert self.open.wait(10)


def test_tensors_may_change_before_their_file_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight, gate, write = torch.ones(1000), Gate(), checkpoints._write
    monkeypatch.setattr(checkpoints, "_write", lambda *args: gate.open.wait(10) and write(*args))
    with CheckpointWriter(tmp_path, Keep()) as writer:
        path = writer.save(Progress(1), {"raw": {"w": weight}})
        weight.zero_()
        assert not path.exists()
        assert writer.saved is None
        gate.open.set()
    assert torch.equal(load_tensors(path / "raw.safetensors")["w"], torch.ones(1000))


def test_a_save_waits_for_the_one_before(tmp_path: Path) -> None:
    gate = Gate()
    with CheckpointWriter(tmp_path, Keep()) as writer:
        first = writer.save(Progress(1), _tensors(1.0), parts=gate.parts)
        threading.Timer(0.05, gate.open.set).start()
        writer.save(Progress(2), _tensors(2.0))
        assert first.exists()
    assert _names(tmp_path) == ["latest", "step-00000001", "step-00000002"]
    assert load_tensors(first / "raw.safetensors")["one"] == 1


def test_host_memory_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[dict[str, int]] = []
    save_file = checkpoints.save_file
    monkeypatch.setattr(
        checkpoints,
        "save_file",
        lambda group, file: (
            places.append({name: value.data_ptr() for name, value in group.items()}),
            save_file(group, file),
        ),
    )
    other = {"raw": {**_tensors(3.0)["raw"], "low": torch.zeros(900)}}
    with CheckpointWriter(tmp_path, Keep()) as writer:
        for step, tensors in enumerate((_tensors(1.0), _tensors(2.0), other)):
            path = writer.save(Progress(step), tensors)
    assert places[0] == places[2]  # of `raw`; each of the first two saves has two groups
    assert places[4]["transposed"] == places[0]["transposed"]
    assert load_tensors(path / "raw.safetensors")["low"].shape == (900,)


def test_parts_written_by_others_are_checked_too(tmp_path: Path) -> None:
    threads = []

    def parts(temporary: Path) -> Callable[[], None]:
        assert temporary == tmp_path / ".step-00000005.tmp"
        threads.append(threading.current_thread())
        (temporary / "sharded").mkdir()

        def finish() -> None:
            threads.append(threading.current_thread())
            (temporary / "sharded" / "0.distcp").write_bytes(b"abc")

        return finish

    with CheckpointWriter(tmp_path, Keep()) as writer:
        path = writer.save(Progress(5), _tensors(1.0), parts=parts)
    assert threads[0] is threading.main_thread() is not threads[1]
    (path / "sharded" / "0.distcp").write_bytes(b"ab")
    with pytest.raises(RunError, match=r"sharded/0\.distcp: truncated: 2 of 3 bytes"):
        newest_whole(tmp_path)


def _broken(temporary: Path) -> Callable[[], None]:
    raise RunError("process 3 is gone")


def _broken_later(temporary: Path) -> Callable[[], None]:
    return lambda: _broken(temporary)


def test_a_failure_in_the_thread_is_raised_once(tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path, Keep())
    writer.save(Progress(1), _tensors(1.0), wait=True)
    with pytest.raises(RunError, match="process 3 is gone"):
        writer.save(Progress(2), _tensors(2.0), parts=_broken)
    for tell in (
        writer.wait,
        writer.close,
        lambda: writer.save(Progress(9), _tensors(2.0)),
    ):
        writer.save(Progress(2), _tensors(2.0), parts=_broken_later)
        with pytest.raises(RunError, match="process 3 is gone"):
            tell()
        writer.close()
    with pytest.raises(RunError, match="process 3 is gone"):
        writer.save(Progress(2), _tensors(2.0), parts=_broken_later, wait=True)
    assert _names(tmp_path) == ["latest", "step-00000001"]
    assert writer.saved == checkpoint_of(tmp_path) == tmp_path / "step-00000001"


def test_a_failed_save_does_not_hide_what_failed_before(tmp_path: Path) -> None:
    with (
        pytest.warns(AddkitWarning, match="process 3 is gone"),
        pytest.raises(ValueError, match="loss"),
        CheckpointWriter(tmp_path, Keep()) as writer,
    ):
        writer.save(Progress(1), _tensors(1.0), parts=_broken_later)
        raise ValueError("loss")
    with (
        pytest.raises(RunError, match="process 3 is gone"),
        CheckpointWriter(tmp_path, Keep()) as writer,
    ):
        writer.save(Progress(1), _tensors(1.0), parts=_broken_later)


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    with CheckpointWriter(tmp_path, Keep()) as writer:
        writer.save(Progress(4, 1.0), _tensors(1.0))
        path = writer.save(Progress(4, 2.0), _tensors(2.0))
    assert load_progress(path).seconds == 2
    assert load_tensors(path / "raw.safetensors")["one"] == 2
    assert _names(tmp_path) == ["latest", "step-00000004"]


@pytest.mark.parametrize("asynchronous", [True, False])
def test_the_newest_is_marked_as_the_best_once_it_is_written(
    tmp_path: Path, asynchronous: bool
) -> None:
    gate = Gate()
    with CheckpointWriter(tmp_path, Keep(), asynchronous=asynchronous) as writer:
        writer.mark_best()
        writer.wait()
        assert pointed_at(tmp_path, "best") is None
        if not asynchronous:
            gate.open.set()
        path = writer.save(Progress(4), _tensors(1.0), parts=gate.parts)
        writer.mark_best()
        assert pointed_at(tmp_path, "best") == (None if asynchronous else path)
        gate.open.set()
    assert pointed_at(tmp_path, "best") == path


def test_a_failed_save_is_not_marked_as_the_best(tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path, Keep())
    first = writer.save(Progress(1), _tensors(1.0))
    writer.mark_best()
    writer.save(Progress(2), _tensors(2.0), parts=_broken_later)
    writer.mark_best()
    with pytest.raises(RunError, match="process 3 is gone"):
        writer.close()
    assert pointed_at(tmp_path, "best") == first


def test_an_old_one_that_cannot_be_deleted_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(path: Path) -> None:
        raise PermissionError(13, "in use")

    writer = CheckpointWriter(tmp_path, Keep(last=1))
    writer.save(Progress(1), _tensors(1.0))
    monkeypatch.setattr(checkpoint_files, "discard", held)
    with pytest.warns(
        AddkitWarning, match=r"step-00000001: an old .* cannot be deleted: .*by hand"
    ):
        writer.save(Progress(2), _tensors(1.0), wait=True)
    monkeypatch.undo()
    writer.save(Progress(3), _tensors(1.0), wait=True)
    assert _names(tmp_path) == ["latest", "step-00000003"]


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o027, 0o077], ids=oct)
def test_weights_have_the_mode_of_their_neighbours(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        path = CheckpointWriter(tmp_path, Keep(), asynchronous=False).save(
            Progress(1), {"raw": {"w": torch.zeros(1)}}
        )
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()}
    assert modes == {0o666 & ~umask}
    assert stat.S_IMODE(path.stat().st_mode) == 0o777 & ~umask


def test_tensors_may_change_their_type(tmp_path: Path) -> None:
    with CheckpointWriter(tmp_path, Keep()) as writer:
        for step, kind in enumerate((torch.float32, torch.bfloat16, torch.int64)):
            path = writer.save(Progress(step), {"raw": {"w": torch.arange(3, dtype=kind)}})
    weight = load_tensors(path / "raw.safetensors")["w"]
    assert weight.dtype == torch.int64
    assert weight.tolist() == [0, 1, 2]
