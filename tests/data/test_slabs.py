from __future__ import annotations

import torch

from addkit.data.loader import Slabs


def test_memory_is_used_again_when_nothing_lives_in_it() -> None:
    slabs = Slabs()
    first = slabs.empty((4, 5))
    place = first.data_ptr()
    view = first[1:].view(-1)
    del first
    assert slabs.empty((4, 5)).data_ptr() != place
    del view
    assert {slabs.empty((2, 3)).data_ptr(), slabs.empty((4, 5)).data_ptr()} >= {place}


def test_autograd_keeps_it() -> None:
    slabs = Slabs()
    images = slabs.empty((3,)).fill_(2.0)
    place = images.data_ptr()
    weight = torch.ones(3, requires_grad=True)
    loss = (images * weight).sum()
    del images
    assert slabs.empty((3,)).data_ptr() != place
    loss.backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert weight.grad.tolist() == [2.0] * 3


def test_too_small_memory_is_let_go() -> None:
    slabs = Slabs()
    slabs.empty((2,))
    assert slabs.empty((3, 100)).shape == (3, 100)
