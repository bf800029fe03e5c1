"""Read-outs: the rule that turns chains, or one pass, into the answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from addkit.plugin.spec import Config, ReadOutSpec, Spec, hookimpl

__all__ = [
    "ConsensusConfig",
    "LastConfig",
    "LikelihoodConfig",
    "MeanConfig",
    "OnePassConfig",
    "VoteConfig",
]


class LastConfig(Config):
    """The last step's prediction, averaged over chains: the paper's."""


class OnePassConfig(Config):
    """One pass at t = T from y_T = 0: p(k | image) itself, without the state's noise."""


class MeanConfig(Config):
    """The mean prediction over all steps and chains."""


class VoteConfig(Config):
    """The share of chains that end at each class."""


class ConsensusConfig(Config):
    """Of several chains' whole answers the one that the others agree with most."""


class LikelihoodConfig(Config):
    """Of several chains' whole answers the most probable one, by the exact likelihood."""


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in read-outs."""
    yield ReadOutSpec(
        name="last",
        config=LastConfig,
        build="addkit.read_outs.last:Last",
        summary="The last step (the paper's).",
    )
    yield ReadOutSpec(
        name="one-pass",
        config=OnePassConfig,
        build="addkit.read_outs.one_pass:OnePass",
        provides=frozenset({"one-pass"}),
        summary="One pass at t = T with y_T = 0.",
    )
    yield ReadOutSpec(
        name="mean",
        config=MeanConfig,
        build="addkit.read_outs.mean:Mean",
        summary="Mean over steps and chains.",
    )
    yield ReadOutSpec(
        name="vote",
        config=VoteConfig,
        build="addkit.read_outs.vote:Vote",
        summary="Votes of the chains.",
    )
    yield ReadOutSpec(
        name="consensus",
        config=ConsensusConfig,
        build="addkit.read_outs.whole:Consensus",
        summary="The chain that the others agree with most.",
    )
    yield ReadOutSpec(
        name="likelihood",
        config=LikelihoodConfig,
        build="addkit.read_outs.whole:Likelihood",
        summary="The most probable of the chains' answers.",
    )
