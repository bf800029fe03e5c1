"""Read-outs: the rule that turns chains, or one pass, into the answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from addkit.plugin.spec import ReadOutSpec, Spec, hookimpl


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in read-outs."""
    yield ReadOutSpec(
        name="last",
        config="addkit.read_outs.settings:LastConfig",
        build="addkit.read_outs.last:Last",
        summary="The last step (the paper's).",
    )
    yield ReadOutSpec(
        name="one-pass",
        config="addkit.read_outs.settings:OnePassConfig",
        build="addkit.read_outs.one_pass:OnePass",
        provides=frozenset({"one-pass"}),
        summary="One pass at t = T with y_T = 0.",
    )
    yield ReadOutSpec(
        name="mean",
        config="addkit.read_outs.settings:MeanConfig",
        build="addkit.read_outs.mean:Mean",
        summary="Mean over steps and chains.",
    )
    yield ReadOutSpec(
        name="vote",
        config="addkit.read_outs.settings:VoteConfig",
        build="addkit.read_outs.vote:Vote",
        summary="Votes of the chains.",
    )
    yield ReadOutSpec(
        name="consensus",
        config="addkit.read_outs.settings:ConsensusConfig",
        build="addkit.read_outs.whole:Consensus",
        summary="The chain that the others agree with most.",
    )
    yield ReadOutSpec(
        name="likelihood",
        config="addkit.read_outs.settings:LikelihoodConfig",
        build="addkit.read_outs.whole:Likelihood",
        summary="The most probable of the chains' answers.",
    )
