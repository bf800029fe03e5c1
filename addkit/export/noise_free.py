"""The network without randomness, as an exported graph has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from addkit.diffusion import LabelDiffusion
from addkit.diffusion.noise import noised
from addkit.plugin.values import Clean, State

ROWS = 1024
"""Classes that are embedded at a time, K numbers each."""


class DrawsNoiseError(Exception):
    """A chain needs a random number, so that its answer differs from one seed to the next."""


class NoiseFree(LabelDiffusion):
    """A trained network that corrupts labels without drawing noise; it shares all modules.

    Signal powers 0 and 1 are all that it corrupts to: at 1 nothing of the noise is left, and at 0
    nothing but noise. Where the embedding maps every y_T to the same h, neither needs a draw, and
    both are rows of a table that is computed once.
    """

    clean_rows: Tensor
    """(K, D): h of each label at t = 0."""
    noise_row: Tensor
    """(D,): h of y_T."""

    @classmethod
    @torch.no_grad()
    def of(cls, model: LabelDiffusion) -> NoiseFree:
        """The network without noise."""
        free = cls.__new__(cls)
        # Copied dictionaries, so that the tables below are none of the model's buffers.
        free.__dict__.update(
            {k: v.copy() if isinstance(v, dict) else v for k, v in model.__dict__.items()}
        )
        if model.embedding is None:
            return free
        eye = torch.eye(model.num_classes, device=model.null_token.device)
        one = torch.ones(1, 1, 1, device=eye.device)
        rows = [
            model.embedding.read(model.schedule.scale * part[None, None], one)[0, 0]
            for part in torch.split(eye, ROWS)
        ]
        nothing = model.embedding.read(torch.zeros_like(eye[:1])[None, None], one - 1)
        free.register_buffer("clean_rows", torch.cat(rows))
        free.register_buffer("noise_row", nothing[0, 0, 0])
        return free

    def corrupt(
        self, clean: Clean, alpha_bar: Tensor, generator: torch.Generator, *, keep_y_t: bool = False
    ) -> State:
        """A label that is clean or nothing but noise. Outside of a graph it raises
        `DrawsNoiseError` for every other signal power, and where h depends on the noise of y_T.
        """
        if self.embedding is None and not self.needs_y_t:
            return super().corrupt(clean, alpha_bar, generator)
        if not torch.compiler.is_exporting():
            self._check(alpha_bar)
        if clean.soft is None and not (keep_y_t or self.needs_y_t):
            rows = self.clean_rows[clean.ids]  # (B, R, N, D)
            return State(torch.where(alpha_bar.unsqueeze(-1) > 0, rows, self.noise_row))
        y_0 = clean.dense(self.num_classes)  # (B, R, N, K)
        y_t = noised(y_0, torch.zeros_like(y_0), alpha_bar, self.schedule.scale).y_t
        return self.read(y_t, alpha_bar)

    def _check(self, alpha_bar: Tensor) -> None:
        if bool(((alpha_bar > 0) & (alpha_bar < 1)).any()):
            raise DrawsNoiseError
        # The Bayes skip multiplies y_T by 0, so that only an embedding may depend on its noise.
        if self.embedding is not None and bool((alpha_bar == 0).any()):
            # Any numbers of a noise's size will do.
            y_t = torch.linspace(-3.0, 3.0, 8 * self.num_classes).view(1, 1, 8, -1)
            h = self.embedding.read(y_t, torch.zeros(1, 1, 1))
            if not torch.allclose(h, self.noise_row.expand_as(h), atol=1e-6):
                raise DrawsNoiseError


class NoDraws(TorchFunctionMode):
    """Raises `DrawsNoiseError` where torch is called with a generator."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function, unless it draws."""
        if kwargs and kwargs.get("generator") is not None:
            raise DrawsNoiseError
        return func(*args, **(kwargs or {}))
