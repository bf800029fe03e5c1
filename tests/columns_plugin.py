"""A plugin for tests: digits with columns beside them, and a conditioner that reads those."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from addkit.plugin import ConditionerSpec, Config, DataSpec, Problem, Spec, hookimpl

HALVES = ("low", "high")


class NoConfig(Config):
    """Nothing to set."""


def _data(config: NoConfig, problem: Problem) -> Any:
    from addkit.data.digits import Digits
    from addkit.data.settings import DigitsConfig
    from addkit.data.side_inputs import SideInputsImages, encoded
    from addkit.plugin.values import Column

    columns = (
        Column("half", "category", HALVES),
        Column("size", "number", mean=5.0, std=2.0),
        Column("name", "text"),
    )

    class DigitsWithColumns(Digits):
        def __init__(self) -> None:
            super().__init__(DigitsConfig.model_validate({}))
            self.facts = replace(self.facts, columns=columns)

        def _open(self, name: str, augmenter: Any) -> Any:
            images = super()._open(name, augmenter)
            labels = images.labels[:, 0].tolist()
            cells = {
                "half": [None if i % 7 == 0 else HALVES[k > 4] for i, k in enumerate(labels)],
                "size": [None if i % 5 == 0 else str(k) for i, k in enumerate(labels)],
                "name": [None if i % 3 == 0 else f"a {k}" for i, k in enumerate(labels)],
            }
            return SideInputsImages(images, {c.name: encoded(c, cells[c.name]) for c in columns})

    return DigitsWithColumns()


def _conditioner(config: NoConfig, problem: Problem) -> Any:
    import torch
    from torch import Tensor, nn

    class Reader(nn.Module):
        reads_side_inputs = True
        num_tokens = 1

        def __init__(self) -> None:
            super().__init__()
            self.width = problem.encoder_width
            self.halves = nn.Embedding(len(problem.columns[0].categories) + 1, self.width)
            self.sizes = nn.Linear(2, self.width)

        def forward(self, tokens: Tensor, side_inputs: Any) -> Tensor:
            size = side_inputs["size"]
            known = torch.stack([size.nan_to_num(), size.isnan().float()], -1)
            words = torch.tensor([float(len(text)) for text in side_inputs["name"]]).to(tokens)
            out = tokens.mean(1) + self.halves(side_inputs["half"] + 1) + self.sizes(known)
            return (out + words[:, None] / 10).unsqueeze(1)

    return Reader()


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    yield DataSpec(name="digits-columns", config=NoConfig, build=_data, summary="With columns.")
    yield ConditionerSpec(
        name="reader",
        config=NoConfig,
        build=_conditioner,
        provides=frozenset({"one-token", "side-inputs"}),
        summary="Reads the columns.",
    )
