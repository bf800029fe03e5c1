"""Read-outs: the rule that turns chains, or one pass, into the answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from addkit.plugin.spec import Config, Problem, ReadOutSpec, Spec, hookimpl

if TYPE_CHECKING:
    from addkit.plugin.protocols import ReadOut

__all__ = [
    "ConsensusConfig",
    "LastConfig",
    "LikelihoodConfig",
    "MeanConfig",
    "PriorConfig",
    "VoteConfig",
]


class LastConfig(Config):
    """The last step's prediction, averaged over chains: the paper's."""


class PriorConfig(Config):
    """One pass at t = T from y_T = 0: p(k | image) itself, without the state's noise."""


class MeanConfig(Config):
    """The mean prediction over all steps and chains."""


class VoteConfig(Config):
    """The share of chains that end at each class."""


class ConsensusConfig(Config):
    """Of several chains' whole answers the one that the others agree with most."""


class LikelihoodConfig(Config):
    """Of several chains' whole answers the most probable one, by the exact likelihood."""


def _last(config: LastConfig, problem: Problem) -> ReadOut:
    from addkit.read_outs.last import Last

    return Last()


def _prior(config: PriorConfig, problem: Problem) -> ReadOut:
    from addkit.read_outs.prior import Prior

    return Prior()


def _mean(config: MeanConfig, problem: Problem) -> ReadOut:
    from addkit.read_outs.mean import Mean

    return Mean()


def _vote(config: VoteConfig, problem: Problem) -> ReadOut:
    from addkit.read_outs.vote import Vote

    return Vote()


def _consensus(config: ConsensusConfig, problem: Problem) -> ReadOut:
    from addkit.read_outs.whole import Consensus

    return Consensus()


def _likelihood(config: LikelihoodConfig, problem: Problem) -> ReadOut:
    from addkit.read_outs.whole import Likelihood

    return Likelihood()


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in read-outs."""
    yield ReadOutSpec(
        name="last", config=LastConfig, build=_last, summary="The last step (the paper's)."
    )
    yield ReadOutSpec(
        name="prior",
        config=PriorConfig,
        build=_prior,
        provides=frozenset({"one-pass"}),
        summary="One pass at t = T with y_T = 0.",
    )
    yield ReadOutSpec(
        name="mean", config=MeanConfig, build=_mean, summary="Mean over steps and chains."
    )
    yield ReadOutSpec(name="vote", config=VoteConfig, build=_vote, summary="Votes of the chains.")
    yield ReadOutSpec(
        name="consensus",
        config=ConsensusConfig,
        build=_consensus,
        summary="The chain that the others agree with most.",
    )
    yield ReadOutSpec(
        name="likelihood",
        config=LikelihoodConfig,
        build=_likelihood,
        summary="The most probable of the chains' answers.",
    )
