from __future__ import annotations

import torch

from addkit.diffusion.randomness import uniforms


def test_first_words_are_those_of_splitmix64() -> None:
    def mixed(word: int) -> int:
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
        return word ^ word >> 31

    def reference(seed: int, index: int, column: int) -> float:
        stride = 0x9E3779B97F4A7C15
        row = mixed((mixed(seed % 2**64) + (index + 1) * stride) % 2**64)
        return (mixed((row + (column + 1) * stride) % 2**64) >> 11) * 2.0**-53

    for seed in (0, 7, 2**63 + 5, -3):
        found = uniforms(seed, torch.tensor([0, 5, 2**40]), 3)
        wanted = [
            [reference(seed, index, column) for column in range(3)] for index in (0, 5, 2**40)
        ]
        assert found.tolist() == wanted


def test_uniform_in_every_column() -> None:
    draws = uniforms(1, torch.arange(20_000), 4)
    assert draws.min() >= 0
    assert draws.max() < 1
    for column in draws.T:
        counts = torch.histc(column, 20, 0, 1)
        chi_square = float(((counts - 1000) ** 2 / 1000).sum())
        assert chi_square < 45  # 19 degrees of freedom: 1 in 1,000


def test_no_correlation_between_columns_rows_or_seeds() -> None:
    draws = uniforms(2, torch.arange(20_000), 3)
    other = uniforms(3, torch.arange(20_000), 1)
    table = torch.stack([*draws.T, draws[:, 0].roll(1), other[:, 0]])
    correlations = torch.corrcoef(table) - torch.eye(5)
    assert correlations.abs().max() < 0.03


def test_a_row_depends_on_its_index_alone() -> None:
    everything = uniforms(9, torch.arange(100), 5)
    some = uniforms(9, torch.tensor([70, 3]), 2)
    assert torch.equal(some, everything[[70, 3], :2])
