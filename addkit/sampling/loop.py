r"""The sampling loop: predict the clean label, let the sampler decide what is read next (3.2).

.. math::
    \hat y_0 = \mathrm{onehot}(\arg\max_k p(y_0^{(k)} \mid y_t, c)), \qquad
    y_s = b\sqrt{\bar\alpha_s}\,\hat y_0 + \sqrt{1-\bar\alpha_s}\,
          (r\,\hat\epsilon + \sqrt{1 - r^2}\,\epsilon)

The paper prints alpha without the bar here; only alpha_bar agrees with its forward process. The
equation is `addkit.samplers.renoise.Renoise.step` (r = 0, the paper's arg-max-and-re-noise) and
`addkit.samplers.carry.CarryNoise.step` (r > 0).

Several tokens may follow one path of noise levels together, or be settled one after the other: a
settled token stays what it is, without noise, while the others wait at t = T or go on annealing.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from addkit.diffusion.timesteps import time_grid
from addkit.plugin.protocols import StepSampler
from addkit.plugin.values import ChainStep
from addkit.sampling.chain import Chain
from addkit.sampling.guided import EarlyExit


def denoise(sampler: StepSampler, chain: Chain) -> Iterator[ChainStep]:
    """Run a sampler's steps over all tokens of a chain and yield each.

    Args:
        sampler: decides what the network reads at each step.
        chain: the network with its condition, and the settings.

    Raises:
        UsageError: the network does not read the noisy labels of all tokens at once.
    """
    chain.whole()
    settings, generator, (batch, _, num_tokens) = chain.settings, chain.generator, chain.shape
    steps = sampler.steps(settings.steps, num_tokens)
    grid = time_grid(steps).float().to(generator.device)
    network = EarlyExit(chain.guided, settings.early_exit, generator.device)
    now, before = chain.with_given(sampler.start(chain)), None
    for index in range(steps):
        logits = network(now.state, now.t, chain.layout)
        logits = chain.constrained(logits, now, before)  # (B, R, N, K)
        clean = sampler.clean(chain, logits)
        if now.settled is not None:
            clean = chain.with_settled(clean, now)
        exited, y_t = network.exited, now.state.y_t
        yield ChainStep(index, float(grid[index]), logits, clean, exited, y_t, settings.prior)
        if settings.early_exit:
            # Two passes over K-wide tensors, so only where asked for.
            network.update(logits, before)
        if index + 1 == steps or bool(network.exited.all()):
            return
        s = grid[index + 1].expand(1, 1, 1)
        now = sampler.step(chain, now, logits, clean, s, (index + 1) / steps)
        if settings.shuffled:
            images = torch.randperm(batch, generator=generator, device=generator.device)
            now = now.select(images)
        if now.settled is not None:
            now = chain.settle(now, clean.ids)
        before = logits
