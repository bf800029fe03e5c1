"""Read-outs: the rule that turns chains, or one pass, into the answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from addkit.plugin.spec import ReadOutSpec, Spec, hookimpl


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in read-outs."""
    yield ReadOutSpec(
        "last", ".settings:LastConfig", ".by_token:Last", "The last step (the paper's)."
    )
    yield ReadOutSpec(
        "one-pass",
        ".settings:OnePassConfig",
        ".by_token:OnePass",
        "One pass at t = T with y_T = 0.",
        provides=frozenset({"one-pass"}),
    )
    yield ReadOutSpec(
        "mean", ".settings:MeanConfig", ".by_token:Mean", "Mean over steps and chains."
    )
    yield ReadOutSpec("vote", ".settings:VoteConfig", ".by_token:Vote", "Votes of the chains.")
    yield ReadOutSpec(
        "consensus",
        ".settings:ConsensusConfig",
        ".whole:Consensus",
        "The chain that the others agree with most.",
    )
    yield ReadOutSpec(
        "likelihood",
        ".settings:LikelihoodConfig",
        ".whole:Likelihood",
        "The most probable of the chains' answers.",
    )
