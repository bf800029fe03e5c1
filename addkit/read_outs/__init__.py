"""Read-outs: the rule that turns chains, or one pass, into the answer."""

from __future__ import annotations

from addkit.plugin.spec import ReadOutSpec, components

addkit_components = components(
    ReadOutSpec("last", ".settings:LastConfig", ".by_token:Last", "The last step (the paper's)."),
    ReadOutSpec(
        "one-pass",
        ".settings:OnePassConfig",
        ".by_token:OnePass",
        "One pass at t = T with y_T = 0.",
        provides=frozenset({"one-pass"}),
    ),
    ReadOutSpec("mean", ".settings:MeanConfig", ".by_token:Mean", "Mean over steps and chains."),
    ReadOutSpec("vote", ".settings:VoteConfig", ".by_token:Vote", "Votes of the chains."),
    ReadOutSpec(
        "consensus",
        ".settings:ConsensusConfig",
        ".whole:Consensus",
        "The chain that the others agree with most.",
    ),
    ReadOutSpec(
        "likelihood",
        ".settings:LikelihoodConfig",
        ".whole:Likelihood",
        "The most probable of the chains' answers.",
    ),
)
