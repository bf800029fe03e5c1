"""The condition from an image and a sentence."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, cast

import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import TextTransformer
from torch import Tensor, nn

from addkit.errors import RecipeError, guess
from addkit.plugin import Problem
from addkit.plugin.facts import SideInputs
from addkit_text.settings import TextConfig

REMEMBERED = 1 << 16
"""Sentences whose subwords are kept."""


class Text(nn.Module):
    """Tokens (B, L, W) and B sentences -> condition (B, image tokens + 1, V)."""

    reads_side_inputs = True

    def __init__(self, config: TextConfig, problem: Problem) -> None:
        """Raises `RecipeError` for a column or a model that is not there."""
        super().__init__()
        self.config, self.width = config, config.width
        self.column = _column(config.column, problem)
        self.prefix = problem.num_prefix_tokens
        self.num_tokens = (
            1 + {"mean": 1, "all": problem.num_encoder_tokens, "none": 0}[config.image]
        )
        self.project = nn.Sequential(
            nn.LayerNorm(problem.encoder_width), nn.Linear(problem.encoder_width, config.width)
        )
        self.tower = _tower(config)
        features = cast("int", self.tower.output_dim)
        self.sentence = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, config.width))
        self.missing = nn.Parameter(torch.randn(config.width) * 0.02)
        if config.frozen:
            self.tower.requires_grad_(False)

    def train(self, mode: bool = True) -> Text:
        """As `nn.Module.train`, but a frozen tower stays in evaluation mode."""
        super().train(mode)
        if self.config.frozen:
            self.tower.eval()
        return self

    def forward(self, tokens: Tensor, side_inputs: SideInputs) -> Tensor:
        """(B, L, W) and the text column -> (B, C, V)."""
        texts = side_inputs.get(self.column, ("",) * len(tokens))
        return torch.cat([*self._image(tokens), self._read(texts, tokens).unsqueeze(1)], 1)

    def _image(self, tokens: Tensor) -> tuple[Tensor, ...]:
        if self.config.image == "none":
            return ()
        if self.config.image == "mean":
            tokens = tokens[:, self.prefix :].mean(1, keepdim=True)
        return (self.project(tokens),)

    def _read(self, texts: Any, tokens: Tensor) -> Tensor:
        ids = torch.stack([_subwords(self.config.model, self.config.context, one) for one in texts])
        known = torch.tensor([bool(one) for one in texts], device=tokens.device)
        if self.training and self.config.dropout:
            known &= torch.rand(len(known), device=known.device) >= self.config.dropout
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.frozen):
            features = self.tower(ids.to(tokens.device))
        read: Tensor = self.sentence(features)
        return torch.where(known.unsqueeze(-1), read, self.missing.to(read.dtype))


def _column(name: str, problem: Problem) -> str:
    texts = [column.name for column in problem.columns if column.kind == "text"]
    if name and name not in texts:
        raise RecipeError(
            f'[conditioner] column: the data has no text column "{name}"{guess(name, texts)}; '
            f"it has: {', '.join(texts) or 'none'}"
        )
    return name or (texts[0] if texts else "")


def _tower(config: TextConfig) -> nn.Module:
    if config.model:
        return _open_clip(config)
    tower: nn.Module = TextTransformer(
        context_length=config.context,
        width=config.width,
        heads=config.heads,
        layers=config.depth,
        output_dim=config.width,
    )
    return tower


def _open_clip(config: TextConfig) -> nn.Module:
    """The text tower of a whole CLIP, whose image tower is let go."""
    name, _, tag = config.model.partition(".")
    known = open_clip.list_models()
    if name not in known:
        raise RecipeError(f'[conditioner] open_clip has no model "{name}"{guess(name, known)}')
    here = torch.empty(0).device
    source = (
        str(config.weights) if config.weights is not None else tag if config.pretrained else None
    )
    try:
        model: Any = open_clip.create_model(
            name,
            # A dry run builds without memory, and without weights.
            pretrained=None if here.type == "meta" else source,
            device=here,
            force_custom_text=True,
            require_pretrained=source is not None and here.type != "meta",
        )
    except Exception as error:  # open_clip and torch raise nearly anything for a broken file
        text = " ".join(str(error).split())[:300]
        raise RecipeError(
            f'[conditioner] the CLIP "{config.model}" cannot be loaded: {text}'
        ) from error
    tower: nn.Module = model.text
    return tower


@cache
def _tokenizer(model: str, context: int) -> Any:
    name = model.partition(".")[0]
    return open_clip.get_tokenizer(name) if name else SimpleTokenizer(context_length=context)


@lru_cache(REMEMBERED)
def _subwords(model: str, context: int, text: str) -> Tensor:
    """(context,) ids, cut or filled up."""
    with torch.device("cpu"):
        ids: Tensor = _tokenizer(model, context)([text])[0]
    return ids
