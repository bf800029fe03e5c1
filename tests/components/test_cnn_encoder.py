from __future__ import annotations

import pytest
import torch

from addkit.model import Network


def _images(channels: int, size: int) -> torch.Tensor:
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "side"), [(8, 2), (28, 7), (29, 8), (33, 9), (5, 2), (1, 1)])
def test_tokens_are_the_positions_of_the_last_map(build, channels: int, size: int, side: int):
    facts = {"image_channels": channels, "image_size": size}
    encoder = build("encoder", "cnn", facts, widths=[4, 8, 16])
    assert (encoder.num_tokens, encoder.width, encoder.num_prefix_tokens) == (side**2, 16, 0)
    assert encoder(_images(channels, size)).shape == (2, side**2, 16)


def test_each_width_has_its_convolutions(build) -> None:
    facts = {"image_channels": 3, "image_size": 8}
    encoder = build("encoder", "cnn", facts, widths=[4, 6], blocks=3)
    shapes = [
        tuple(m.weight.shape[:2]) for m in encoder.modules() if isinstance(m, torch.nn.Conv2d)
    ]
    assert shapes == [(4, 3), (4, 4), (4, 4), (6, 4), (6, 6), (6, 6)]


def test_tokens_keep_their_place_row_by_row(build) -> None:
    """A pixel reaches the tokens around it: rows 1 to 3, columns 0 to 2."""
    facts = {"image_channels": 1, "image_size": 8}
    encoder = build("encoder", "cnn", facts, widths=[4, 8]).eval()
    dark = torch.zeros(1, 1, 8, 8)
    lit = dark.clone()
    lit[0, 0, 5, 2] = 10.0
    change = (encoder(lit) - encoder(dark)).norm(dim=-1).view(4, 4)
    assert not change[0].any()
    assert not change[:, 3].any()
    assert change[3].any()
    assert change[:, 0].any()


def test_dropout_acts_in_training_alone(build) -> None:
    encoder = build("encoder", "cnn", {"image_size": 8}, widths=[4, 8], dropout=0.5)
    images = _images(3, 8)
    with torch.random.fork_rng():
        assert (encoder(images) == 0).float().mean() > 0.4
    encoder.eval()
    assert torch.equal(encoder(images), encoder(images))


def test_a_frozen_encoder_stays_as_it_is(build) -> None:
    encoder = build("encoder", "cnn", {"image_size": 8}, widths=[4, 8], dropout=0.5)
    diffusion = torch.nn.Linear(8, 1)
    diffusion.plugin_names = {}
    before = {name: x.clone() for name, x in encoder.state_dict().items()}
    network = Network(encoder, diffusion, frozen=True).train()
    diffusion(network.tokens(_images(3, 8))).sum().backward()
    assert network.training
    assert not encoder.training
    assert all(p.grad is None for p in encoder.parameters())
    assert diffusion.weight.grad is not None
    for name, x in encoder.state_dict().items():
        assert torch.equal(x, before[name]), name


def test_a_live_encoder_is_trained(build) -> None:
    encoder = build("encoder", "cnn", {"image_size": 8}, widths=[4, 8])
    diffusion = torch.nn.Linear(8, 1)
    diffusion.plugin_names = {}
    network = Network(encoder, diffusion, frozen=False).train()
    diffusion(network.tokens(_images(3, 8))).square().sum().backward()
    assert all(p.grad.any() for p in encoder.parameters())
