"""The transformer denoiser with a prepared condition."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from addkit.denoisers.mlp import TimeEmbedding
from addkit.denoisers.settings import TransformerConfig
from addkit.diffusion.model import zero_linear
from addkit.plugin.values import Layout

MOST_COPIES = 8
"""Reuse copies or chains in one attention call: their mask grows with the square."""


class TransformerDenoiser(nn.Module):
    """Label tokens attend, in one softmax, to themselves and to the condition tokens.

    The condition is "injected via self-attention" (section 3.4). Its tokens do not attend to labels
    and do not see t, so their keys and values are computed once for an image (`prepare`) and
    shared by all reuse copies, steps, chains and by the samplers. Time enters by adaLN-zero
    (Peebles and Xie 2023).

    Args:
        config: sizes.
        condition_width: V.
        num_tokens: N; positions have learned embeddings where N > 1.
    """

    uses_state = True

    def __init__(self, config: TransformerConfig, condition_width: int, num_tokens: int) -> None:
        super().__init__()
        self.width, self.bayes_skip = config.width, config.bayes_skip
        self.self_condition = config.self_condition
        self.time = TimeEmbedding(config.width) if config.time else None
        self.condition = (
            nn.Identity()
            if condition_width == config.width
            else nn.Linear(condition_width, config.width)
        )
        self.position = (
            nn.Parameter(nn.init.normal_(torch.empty(num_tokens, config.width), std=0.02))
            if num_tokens > 1
            else None
        )
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.recompute = False

    def recompute_activations(self) -> None:
        """In training store only the inputs of each block, and compute the rest again."""
        self.recompute = True

    def prepare(self, condition: Tensor) -> tuple[Tensor, ...]:
        """(B, C, V) -> keys and values of every block, 2 x depth tensors (B, heads, C, D/heads)."""
        tokens = self.condition(condition)
        return tuple(part for block in self.blocks for part in block.keys_values(tokens))  # type: ignore[operator]

    def forward(
        self, h: Tensor, t: Tensor, prepared: tuple[Tensor, ...], layout: Layout | None = None
    ) -> Tensor:
        """H (B, R, n, D), t broadcastable to (B, R, n) -> features (B, R, n, D)."""
        if h.shape[1] <= MOST_COPIES:
            return self.extend(h, t, prepared, layout)[0]
        # In groups of copies, since all copies of a group share one mask of their size squared.
        parts = []
        for start, part in zip(
            range(0, h.shape[1], MOST_COPIES), torch.split(h, MOST_COPIES, 1), strict=True
        ):
            own = layout
            if layout is not None and layout.visible is not None:
                own = replace(layout, visible=_copies(layout.visible, start))
            parts.append(self.extend(part, _copies(t, start), prepared, own)[0])
        return torch.cat(parts, 1)  # (B, R, n, D)

    def extend(
        self, h: Tensor, t: Tensor, prepared: tuple[Tensor, ...], layout: Layout | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As `forward`, and the prepared condition followed by these tokens' keys and values.

        Later tokens can then attend to them as to the condition. For R = 1.
        """
        x = h
        if self.position is not None:
            places = None if layout is None else layout.places
            # (n, D), added to every copy.
            x = h + (self.position[: h.shape[2]] if places is None else self.position[places])
        # Once for all blocks, (B, R, n, D) or less.
        time = None if self.time is None else functional.silu(self.time(t))
        mask = _mask(h.shape[1], h.shape[2], prepared[0].shape[2], layout, h.device)
        extended: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            inputs = (x, time, prepared[2 * index], prepared[2 * index + 1], mask)
            if self.recompute and self.training and torch.is_grad_enabled():
                x, keys, values = checkpoint(block, *inputs, use_reentrant=False)
            else:
                x, keys, values = block(*inputs)
            extended += [keys, values]
        return self.norm(x), tuple(extended)


def _copies(x: Tensor, start: int) -> Tensor:
    """Copies start, ... of a tensor (B, R or 1, ...)."""
    return x if x.shape[1] == 1 else x[:, start : start + MOST_COPIES]


def _mask(
    copies: int, num_tokens: int, conditions: int, layout: Layout | None, device: torch.device
) -> Tensor | None:
    """The keys a label token attends to: the condition, and visible tokens of its own copy.

    (R n, C + R n), or with an axis for images and one for heads in front. All copies ride in one
    attention call, so the condition is never repeated.
    """
    visible = None if layout is None else layout.visible
    if copies == 1 and visible is None:
        return None  # every key is seen, and attention without a mask is faster
    rows = copies * num_tokens
    same = torch.eye(copies, dtype=torch.bool, device=device)[:, None, :, None]  # (R, 1, R, 1)
    if visible is None:
        own = same.expand(copies, num_tokens, copies, num_tokens).reshape(rows, rows)
    else:
        each = visible.expand(-1, copies, num_tokens, num_tokens).unsqueeze(3)  # (B, R, n, 1, n)
        own = (each & same).reshape(-1, 1, rows, rows)
    # The condition's keys come first, as in `_attend`.
    everyone = torch.ones(*own.shape[:-1], conditions, dtype=torch.bool, device=device)
    return torch.cat([everyone, own], -1)


class Block(nn.Module):
    """Attention and MLP with a residual path, scaled, shifted and gated by time."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, hidden = config.width, round(config.width * config.mlp_ratio)
        self.heads = config.heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=not config.time)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=not config.time)
        # A norm of its own: the condition is not modulated by time, so that it is prepared once.
        self.condition_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.project = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, width),
        )
        # Zero at the start, so that each block begins as the identity (adaLN-zero).
        self.modulation = zero_linear(width, 6 * width) if config.time else None

    def keys_values(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Condition tokens (B, C, D) -> keys and values (B, heads, C, D/heads)."""
        keys, values = self.key_value(self.condition_norm(tokens)).chunk(2, -1)
        return self._split(keys), self._split(values)

    def forward(
        self, x: Tensor, time: Tensor | None, keys: Tensor, values: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """X (B, R, n, D), time broadcastable to it -> the same shape, keys and values with x's."""
        if self.modulation is None or time is None:
            attended, keys, values = self._attend(self.norm1(x), keys, values, mask)
            x = x + attended
            return torch.add(x, self._mlp(self.norm2(x))), keys, values
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(time).chunk(6, -1)
        read = torch.addcmul(shift1, self.norm1(x), 1 + scale1)
        attended, keys, values = self._attend(read, keys, values, mask)
        x = torch.addcmul(x, gate1, attended)
        read = torch.addcmul(shift2, self.norm2(x), 1 + scale2)
        return torch.addcmul(x, gate2, self._mlp(read)), keys, values

    def _mlp(self, x: Tensor) -> Tensor:
        out: Tensor = self.mlp(x)
        return out

    def _split(self, x: Tensor) -> Tensor:
        # (B, L, D) -> (B, heads, L, D/heads)
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)

    def _attend(
        self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        flat = x.flatten(1, 2)  # (B, R n, D)
        own_keys, own_values = (self._split(part) for part in self.key_value(flat).chunk(2, -1))
        # (B, heads, C + R n, D/heads): one softmax over the condition and the labels.
        keys, values = torch.cat([keys, own_keys], 2), torch.cat([values, own_values], 2)
        attended = functional.scaled_dot_product_attention(
            self._split(self.query(flat)), keys, values, attn_mask=mask
        )
        out: Tensor = self.project(attended.transpose(1, 2).flatten(2))
        return out.view_as(x), keys, values
