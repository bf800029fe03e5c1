"""Typed results: what flows between the loop, the read-outs, the tasks and the reports."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class NoisyLabels:
    """Corrupted labels: y_t = b sqrt(alpha_bar) y_0 + sqrt(1 - alpha_bar) eps."""

    y_t: Tensor
    """(B, R, N, K)."""
    noise: Tensor
    """eps, same shape."""


@dataclass(frozen=True, slots=True)
class Clean:
    """The clean label that a step feeds back: hard (ids) or soft (a distribution)."""

    ids: Tensor
    """(B, R, N): the label, or the arg max of `soft`."""
    soft: Tensor | None = None
    """(B, R, N, K), rows sum to 1; None for one-hot."""

    def dense(self, num_classes: int) -> Tensor:
        """(B, R, N, K), rows sum to 1."""
        if self.soft is not None:
            return self.soft
        return functional.one_hot(self.ids, num_classes).to(torch.get_default_dtype())


@dataclass(frozen=True, slots=True)
class Targets:
    """What a training step should predict, and how much each token counts."""

    labels: Tensor
    """(B, R, N) class ids; 0 where one is missing."""
    weights: Tensor | None = None
    """Of each token's loss, same shape; None: 1 everywhere."""
    known: Tensor | None = None
    """(B, R, N) bool: False where the label is missing, so that it stays pure noise."""
    real: Tensor | None = None
    """(B, R, N) bool: False for pads, whose loss is told apart."""
    present: Tensor | None = None
    """(B, R, N) bool: False for tokens that the network must not see; None: it sees all."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which label tokens stand in h, and which of them each one sees."""

    visible: Tensor | None = None
    """Bool, broadcastable to (B, R, n, n): may token i see token j? None: each sees all."""
    places: Tensor | None = None
    """(n,) the position of each token in its sequence; None: 0, ..., n - 1."""
    first_answer: int = 0
    """The n tokens from here on are to be predicted."""

    def select(self, images: Tensor) -> Layout:
        """The layout of these images."""
        if self.visible is None or len(self.visible) == 1:
            return self
        return Layout(self.visible[images], self.places, self.first_answer)

    def twice(self) -> Layout:
        """The same for the conditional and the unconditional branch."""
        if self.visible is None or len(self.visible) == 1:
            return self
        return Layout(torch.cat([self.visible, self.visible]), self.places, self.first_answer)


@dataclass(frozen=True, slots=True)
class ChainStep:
    """One denoising step of all chains. R chains for each of B images."""

    index: int
    """0 for the first step, at t = T."""
    t: float
    logits: Tensor
    """(B, R, N, K), guided; tokens that are settled keep the logits that settled them."""
    clean: Clean
    exited: Tensor
    """(B,) bool: images whose answer had settled before this step."""
    y_t: Tensor | None = None
    """The state that the step read, (B, R, N, K), where the chain holds it."""
    prior: Tensor | None = None
    """(B, R) log probability of what the chain was given, such as its length."""
    scores: Tensor | None = None
    """(B, R), falling, where the chains are the best answers of a search instead of equals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a read-out makes of chains. S candidates for each image, the best first."""

    labels: Tensor
    """(B, N), the answer."""
    probabilities: Tensor
    """(B, N, K), rows sum to 1: each token by itself."""
    votes: Tensor
    """(B, N, K): share of chains whose last label is k."""
    steps: Tensor
    """(B,) denoising steps that each image took."""
    candidates: Tensor
    """(B, S, N): whole answers."""
    confidence: Tensor
    """(B, S, N): the probability that a candidate's own chain gave each of its tokens."""
    scores: Tensor
    """(B, S): what candidates are ranked by; what it is, the read-out says."""
    log_p: Tensor | None = None
    """(B, S): exact log p(candidate | image), where somebody asked for it."""
    truth_log_p: Tensor | None = None
    """(B,): exact log p(labels | image) of the true labels, in evaluation; NaN where unknown."""
