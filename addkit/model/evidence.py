"""Soft evidence of the pictures of one call, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from addkit.errors import UsageError, require_type
from addkit.plugin.spec import Problem
from addkit.tasks.evidence import attribute_index, soft_evidence

ByName: TypeAlias = "Mapping[str, Mapping[str, float]]"
"""Attribute -> value -> probability, see `addkit.tasks.evidence.soft_evidence`."""
Evidence: TypeAlias = "ByName | Tensor | Iterable[ByName | Tensor | None]"
"""By name or as log-likelihoods (N, K) for all pictures, or one for each: a tensor (B, N, K), or an
iterable whose None has no evidence."""


class EvidenceRows:
    """Splits soft evidence into batches, in the order of the pictures. Raises `UsageError` for
    unknown names, numbers that are no probabilities, and tensors of another shape.

    Args:
        problem: with the attributes' names and values.
        evidence: of all pictures, or of each.
    """

    def __init__(self, problem: Problem, evidence: Evidence) -> None:
        self._problem = problem
        self._shared: Tensor | None = None
        self._rows: Iterator[ByName | Tensor | None] = iter(())
        if not problem.token_names:
            attribute_index(problem, "")  # Raises: there are no attributes.
        if isinstance(evidence, Mapping):
            self._shared = soft_evidence(problem, evidence)
        elif isinstance(evidence, Tensor) and evidence.ndim == 2:
            self._shared = self._likelihoods(evidence)
        else:
            require_type("evidence", evidence, Mapping, Tensor, Iterable)
            self._rows = iter(evidence)

    def take(self, read: Sequence[bool]) -> Tensor:
        """Log-likelihoods (B, N, K) of the next pictures, without those that could not be read."""
        if self._shared is not None:
            return self._shared.expand(sum(read), -1, -1)
        rows = []
        for index, wanted in enumerate(read):
            row = next(self._rows, self)
            if isinstance(row, EvidenceRows):
                raise UsageError(f"evidence: {index} rows for a batch of {len(read)} pictures")
            if wanted:
                rows.append(self._likelihoods(row))
        return torch.stack(rows)

    def _likelihoods(self, row: ByName | Tensor | None) -> Tensor:
        """One picture's (N, K)."""
        shape = (len(self._problem.token_names), self._problem.num_classes)
        if row is None:
            return torch.zeros(shape)
        if not isinstance(row, Tensor):
            return soft_evidence(self._problem, row)
        if row.shape != shape or not row.is_floating_point() or not row.isfinite().all():
            raise UsageError(
                f"evidence: {row.dtype} of shape {tuple(row.shape)}; give finite log-likelihoods "
                f"{shape}, one for each attribute and class"
            )
        return row.float()
