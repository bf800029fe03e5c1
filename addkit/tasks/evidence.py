"""Soft evidence by the names of attributes and values, as log-likelihoods."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from addkit.errors import UsageError, guess, require_type
from addkit.plugin.spec import Problem
from addkit.plugin.values import FORBIDDEN, TAG_CLASSES


def attribute_index(problem: Problem, name: str) -> int:
    """The token of an attribute. Raises `UsageError` for an unknown name."""
    if not problem.token_names:
        raise UsageError(
            "soft evidence is about attributes of an image, and this run has none; of a single "
            "label, multiply its probabilities by those of the evidence"
        )
    if name not in problem.token_names:
        raise UsageError(
            f'no attribute "{name}"{guess(name, problem.token_names)}; '
            f"there are: {', '.join(problem.token_names)}"
        )
    return problem.token_names.index(name)


def value_index(problem: Problem, name: str, value: str) -> int:
    """The class of an attribute's value. Raises `UsageError` for an unknown one."""
    start, stop = problem.token_classes[attribute_index(problem, name)]
    # Two attributes may share a value's name, such as "none": only its own range counts.
    values = problem.class_names[start:stop]
    if value not in values:
        raise UsageError(
            f'{name} = "{value}": no such value{guess(value, values)}; '
            f"there are: {', '.join(values)}"
        )
    return start + values.index(value)


def soft_evidence(problem: Problem, evidence: Mapping[str, Mapping[str, float]]) -> Tensor:
    """Log-likelihoods (N, K) of what is said about some attributes; 0 for the others.

    Args:
        problem: with the attributes' names and values.
        evidence: attribute -> value -> its probability by this evidence alone, as if all values had
            been equally frequent before. Values that are not listed share the rest evenly; a
            probability of 0 rules a value out. The value "" of a tag is that it is present.

    Raises:
        UsageError: an unknown attribute or value, or probabilities that are none.
    """
    require_type("evidence", evidence, Mapping)
    likelihoods = torch.zeros(len(problem.token_names), problem.num_classes)
    for name, values in evidence.items():
        token = attribute_index(problem, name)
        require_type(f"evidence[{name!r}]", values, Mapping)
        start, stop = problem.token_classes[token]
        listed = {}
        for value, probability in values.items():
            # A bare tag is one that is present, as among the given labels.
            bare = not value and tuple(problem.class_names[start:stop]) == TAG_CLASSES
            index = value_index(problem, name, TAG_CLASSES[1] if bare else value)
            known = type(probability) in (int, float) and 0 <= probability <= 1
            if not known:
                raise UsageError(
                    f'evidence on {name} = "{value}": {probability!r} is no probability; '
                    "give a number from 0 to 1"
                )
            listed[index] = float(probability)
        total, others = sum(listed.values()), stop - start - len(listed)
        if total > 1 + 1e-6:
            raise UsageError(f"evidence on {name}: its probabilities sum to {total:g}, above 1")
        if total <= 0 and not others:
            raise UsageError(f"evidence on {name}: every value has probability 0")
        p = torch.full((stop - start,), max(1 - total, 0.0) / max(others, 1))
        # 1 less a sum that was meant to be 1 is a rounding, and would rule nothing out.
        p[p < 1e-9] = 0.0
        for index, probability in listed.items():
            p[index - start] = probability
        likelihoods[token, start:stop] = p.log().clamp_min(FORBIDDEN)
    return likelihoods
