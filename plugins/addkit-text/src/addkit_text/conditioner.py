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
from addkit.plugin.values import SideInputs
from addkit_text.settings import TextConfig

CACHED = 1 << 16
"""Sentences whose subwords are cached."""


class Text(nn.Module):
    """Tokens (B, L, W) and B sentences -> condition (B, image tokens + 1, V)."""

    reads_side_inputs = True

    def __init__(self, config: TextConfig, problem: Problem) -> None:
        """Raises `RecipeError` for an unknown column or model."""
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
        if self.config.frozen:  # its dropout would change features that cannot adapt
            self.tower.eval()
        return self

    def forward(self, tokens: Tensor, side_inputs: SideInputs) -> Tensor:
        """(B, L, W) and the text column -> (B, C, V)."""
        # Images without a sentence, such as a user's own files, have it missing.
        texts = side_inputs.get(self.column, ("",) * len(tokens))
        sentence = self._read(texts, tokens).unsqueeze(1)  # (B, 1, V)
        if self.config.image == "none":
            return sentence
        if self.config.image == "mean":
            tokens = tokens[:, self.prefix :].mean(1, keepdim=True)  # (B, 1, W)
        return torch.cat([self.project(tokens), sentence], 1)

    def _read(self, texts: Any, tokens: Tensor) -> Tensor:
        ids = torch.stack(
            [_subwords(self.config.model, self.config.context, text) for text in texts]
        )
        present = torch.tensor([bool(text) for text in texts], device=tokens.device)  # (B,)
        if self.training and self.config.dropout:
            present &= torch.rand(len(present), device=present.device) >= self.config.dropout
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.frozen):
            features = self.tower(ids.to(tokens.device))  # (B, context) -> (B, F)
        read: Tensor = self.sentence(features)  # (B, V)
        return torch.where(present.unsqueeze(-1), read, self.missing.to(read.dtype))


def _column(name: str, problem: Problem) -> str:
    texts = [column.name for column in problem.columns if column.kind == "text"]
    if name and name not in texts:
        raise RecipeError(
            f'[conditioner] column: the data has no text column "{name}"{guess(name, texts)}; '
            f"it has: {', '.join(texts) or 'none'}"
        )
    return name or (texts[0] if texts else "")


def _tower(config: TextConfig) -> nn.Module:
    """A small text tower, or the one of the CLIP that is named, without its image tower."""
    if not config.model:
        small: nn.Module = TextTransformer(
            context_length=config.context,
            width=config.width,
            heads=config.heads,
            layers=config.depth,
            output_dim=config.width,
        )
        return small
    name, _, tag = config.model.partition(".")
    models = open_clip.list_models()
    if name not in models:
        raise RecipeError(f'[conditioner] open_clip has no model "{name}"{guess(name, models)}')
    device = torch.empty(0).device  # the default device, "meta" in a dry run
    source = (
        str(config.weights) if config.weights is not None else tag if config.pretrained else None
    )
    try:
        model: Any = open_clip.create_model(
            name,
            # A dry run builds without memory, and without weights.
            pretrained=None if device.type == "meta" else source,
            device=device,
            force_custom_text=True,
            require_pretrained=source is not None and device.type != "meta",
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


@lru_cache(CACHED)
def _subwords(model: str, context: int, text: str) -> Tensor:
    """(context,) ids, cut or padded."""
    # On the CPU: the cache outlives a dry run, whose default device is "meta".
    with torch.device("cpu"):
        ids: Tensor = _tokenizer(model, context)([text])[0]
    return ids
