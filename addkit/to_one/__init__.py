"""To-one operators: from predicted logits to the clean label that is fed back (figure 2)."""

from __future__ import annotations

from addkit.plugin.spec import ToOneSpec, components

addkit_components = components(
    ToOneSpec(
        "argmax", ".settings:ArgMaxConfig", ".operators:ArgMax", "arg max + one-hot (paper)."
    ),
    ToOneSpec("softmax", ".settings:SoftmaxConfig", ".operators:Softmax", "Feed back the softmax."),
    ToOneSpec(
        "sample", ".settings:SampleConfig", ".operators:Sample", "Draw a label; temperature, top-p."
    ),
)
