"""Settings of the built-in read-outs."""

from __future__ import annotations

from addkit.plugin.config import Config


class LastConfig(Config):
    """The last step's prediction, averaged over chains: the paper's."""


class OnePassConfig(Config):
    """One pass at t = T from y_T = 0: p(k | image) itself, without the state's noise."""


class MeanConfig(Config):
    """The mean prediction over all steps and chains."""


class VoteConfig(Config):
    """The share of chains that end at each class."""


class ConsensusConfig(Config):
    """The whole answer among the chains' that the others agree with most."""


class LikelihoodConfig(Config):
    """The most probable whole answer among the chains', by the exact likelihood."""
