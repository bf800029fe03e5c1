"""The label diffusion network around its components: tokens in, logits of labels out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from addkit.diffusion.noise import log_likelihood_scale, noised
from addkit.errors import PluginError
from addkit.plugin.protocols import (
    Conditioner,
    Denoiser,
    Embedding,
    Loss,
    Process,
    Schedule,
    Timesteps,
)
from addkit.plugin.values import (
    FORBIDDEN,
    NO_CATEGORY,
    Clean,
    Column,
    Layout,
    NoisyBatch,
    SideInputs,
    State,
)


class LabelDiffusion(nn.Module):
    """p(y_0 | y_t, c) = softmax(f(y_t, t, c)): conditioner, embedding, denoiser and output layer.

    Args:
        conditioner: encoder tokens -> condition.
        embedding: noisy label -> h; None where the denoiser ignores the state.
        denoiser: (h, t, condition) -> features.
        schedule: alpha_bar(t) and the input scale b.
        loss: compares the K outputs with labels, and turns them into logits.
        process: which labels training corrupts, and how far.
        times: how training times are drawn; None: u ** schedule.t_power.
        num_classes: K.
        num_tokens: N, labels of one image.
        token_classes: of joint labels, the classes [start, stop) that each token can take.
        columns: side inputs that the conditioner may read.
        predicts_length: predict how many of the N tokens are real, from the condition.
        plugin_names: kind -> name and package of each component that is not addkit's own.
    """

    null_token: nn.Parameter
    """The learned condition of "no image", (V,)."""
    forbidden: Tensor | None
    """(N, K), added to logits; None where every token can take every class."""
    reads_side_inputs: bool
    """True if the condition depends on side inputs."""

    def __init__(
        self,
        *,
        conditioner: Conditioner,
        embedding: Embedding | None,
        denoiser: Denoiser,
        schedule: Schedule,
        loss: Loss,
        process: Process,
        times: Timesteps | None = None,
        num_classes: int,
        num_tokens: int = 1,
        token_classes: Sequence[tuple[int, int]] = (),
        columns: Sequence[Column] = (),
        predicts_length: bool = False,
        plugin_names: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.conditioner = conditioner
        self.reads_side_inputs = getattr(conditioner, "reads_side_inputs", False)
        self.embedding = embedding
        self.denoiser = denoiser
        self.output = zero_linear(denoiser.width, num_classes)
        self.null_token = nn.Parameter(nn.init.normal_(torch.empty(conditioner.width), std=0.02))
        self.schedule = schedule
        self.loss = loss
        self.process = process
        self.timesteps = times
        self.plugin_names = dict(plugin_names or {})
        self.num_classes = num_classes
        self.num_tokens = num_tokens
        self.columns = tuple(columns)
        # True if something after the embedding needs y_t itself, so that `draw` cannot serve.
        self.needs_y_t = denoiser.bayes_skip or loss.predicts == "noise"
        width = denoiser.width
        self.self_conditioning = zero_linear(width, width) if denoiser.self_condition > 0 else None
        self.length_head = (
            zero_linear(conditioner.width, num_tokens + 1) if predicts_length else None
        )
        # Tried once here: a schedule that gave one number for all times would be broadcast.
        probe = torch.full((2, 1, num_tokens), 0.5, device="cpu")
        self._checked(schedule.alpha_bar(probe), probe.shape, "schedule", "alpha_bar")
        forbidden = None
        if token_classes:
            forbidden = torch.full((len(token_classes), num_classes), FORBIDDEN)  # (N, K)
            for token, (start, stop) in enumerate(token_classes):
                forbidden[token, start:stop] = 0.0
        # Not persistent: it follows from the data's facts, which the run stores anyway.
        self.register_buffer("forbidden", forbidden, persistent=False)

    def condition(self, tokens: Tensor, side_inputs: SideInputs | None = None) -> Tensor:
        """Encoder tokens (B, L, W) -> condition (B, C, V).

        Columns that are not given count as missing where the conditioner reads side inputs; where
        it does not, they are ignored.
        """
        inputs: tuple[Any, ...] = (tokens,)
        if self.reads_side_inputs:
            inputs += (completed(side_inputs or {}, self.columns, tokens.shape[0], tokens.device),)
        condition: Tensor = self.conditioner(*inputs)
        length = getattr(self.conditioner, "num_tokens", "C")
        expected = (tokens.shape[0], length, self.conditioner.width)
        if getattr(condition, "shape", None) != expected:
            self._checked(condition, expected, "conditioner", "a condition")
        return condition  # (B, C, V)

    def null_condition(self, num_tokens: int) -> Tensor:
        """The learned "no image", (1, C, V)."""
        return self.null_token.expand(1, num_tokens, -1)

    def prepare(self, condition: Tensor) -> tuple[Tensor, ...]:
        """What depends on the condition alone, once for all reuse copies, steps and chains."""
        return self.denoiser.prepare(condition)

    def length_logits(self, condition: Tensor) -> Tensor:
        """Condition (B, C, V) -> logits of 0, ..., N real tokens, (B, N + 1)."""
        if self.length_head is None:
            raise ValueError("this network was built without a length head")
        # fp32 under autocast: the caller takes its softmax.
        logits: Tensor = self.length_head(condition.mean(1)).float()  # (B, N + 1)
        return logits

    def embed(self, batch: NoisyBatch, generator: torch.Generator) -> tuple[State, Tensor]:
        """Corrupt and embed the labels of a training step; returns the state and its times.

        The context, if any, is read clean before the noisy labels: (B, R, M + N) tokens.
        """
        noisy = self.corrupt(Clean(batch.ids), batch.alpha_bar, generator)
        if batch.context is None:
            return noisy, batch.t
        one = torch.ones(1, 1, 1, device=batch.ids.device)
        # A generator of its own: clean labels have no noise, whatever is drawn, and the noisy
        # ones must be those of a batch without context.
        unused = torch.Generator(device=batch.ids.device)
        clean = self.corrupt(Clean(batch.context), one, unused)
        h = torch.cat([clean.h, noisy.h.expand(*batch.ids.shape, -1)], 2)  # (B, R, M + N, D)
        t = batch.t.expand(*batch.t.shape[:2], batch.ids.shape[-1])
        zeros = t.new_zeros(*t.shape[:2], batch.context.shape[-1])
        return State(h), torch.cat([zeros, t], -1)

    def corrupt(
        self, clean: Clean, alpha_bar: Tensor, generator: torch.Generator, *, keep_y_t: bool = False
    ) -> State:
        """Corrupt and embed a label; with y_t itself if `keep_y_t` or something needs it."""
        # fp32 under autocast: noise and the Cholesky factor must not be rounded.
        with torch.autocast(clean.ids.device.type, enabled=False):
            if self.embedding is None and not self.needs_y_t:
                # No width and one copy: the denoiser answers by the condition alone, and R equal
                # copies of that answer would only be broadcast later.
                return State(
                    self.null_token.new_zeros(clean.ids.shape[0], 1, clean.ids.shape[-1], 0)
                )
            if (
                self.embedding is not None
                and clean.soft is None
                and not (keep_y_t or self.needs_y_t)
            ):
                # The distribution of `read`'s h, at a cost that need not grow with K.
                h = self.embedding.draw(clean.ids, alpha_bar, generator)  # (B, R, N, D)
                if getattr(h, "shape", ())[:-1] != clean.ids.shape:
                    self._checked(h, (*clean.ids.shape, "D"), "embedding", "a state")
                return State(h)
            shape = (*clean.ids.shape, self.num_classes)
            noise = torch.randn(shape, generator=generator, device=clean.ids.device)
            y_0 = clean.soft  # (B, R, N, K)
            if y_0 is None:
                y_0 = functional.one_hot(clean.ids, self.num_classes).to(noise.dtype)
            noisy = noised(y_0, noise, alpha_bar, self.schedule.scale)
            return self.read(noisy.y_t, alpha_bar, noise)  # y_t: (B, R, N, K)

    def read(self, y_t: Tensor, alpha_bar: Tensor, noise: Tensor | None = None) -> State:
        """Embed a noisy label (B, R, N, K) that the caller already has."""
        if self.embedding is None:
            return State(y_t.new_zeros(y_t.shape[0], 1, y_t.shape[2], 0), y_t, noise)
        h = self.embedding.read(y_t, alpha_bar)  # (B, R, N, D)
        if getattr(h, "shape", ())[:-1] != y_t.shape[:-1]:
            self._checked(h, (*y_t.shape[:-1], "D"), "embedding", "a state")
        return State(h, y_t, noise)

    def _checked(self, given: Tensor, expected: Sequence[int | str], kind: str, what: str) -> None:
        """`shaped` with the component's name, called where a comparison in place has failed."""
        shaped(given, expected, kind, what, self.plugin_names.get(kind, ""))

    def features(
        self,
        state: State,
        t: Tensor,
        prepared: tuple[Tensor, ...],
        layout: Layout | None = None,
        previous_features: Tensor | None = None,
    ) -> Tensor:
        """What the output layer reads, (B, R, N, D).

        Args:
            state: n tokens, N of which are answers.
            t: broadcastable to (B, R, n).
            prepared: see `prepare`.
            layout: which tokens the state has; None: the N labels, each seeing all.
            previous_features: those of the step before, for self-conditioning.
        """
        h = state.h
        if self.self_conditioning is not None and previous_features is not None:
            previous = self.self_conditioning(previous_features.to(h.dtype))
            # Tokens before the answers, the clean stream of blocks, have no previous features.
            missing = h.shape[2] - previous.shape[2]
            h = h + functional.pad(previous, (0, 0, missing, 0))
        features = self.denoiser(h, t, prepared, layout)
        # (B, R or 1, n, D): a denoiser without a state gives one copy for all.
        if getattr(features, "shape", ())[2:] != (h.shape[2], self.denoiser.width):
            expected = ("B", "R", h.shape[2], self.denoiser.width)
            self._checked(features, expected, "denoiser", "features")
        return features if layout is None else features[:, :, layout.first_answer :]

    def outputs(
        self, features: Tensor, state: State | None = None, alpha_bar: Tensor | None = None
    ) -> Tensor:
        """The K outputs in fp32, (B, R, N, K): logits, or an estimate where the loss is an MSE.

        With the Bayes skip the state's log-likelihood is added: log p(k | c) + c_t y_t.
        """
        # fp32 under autocast: bfloat16 has three digits, and log p is what answers report.
        outputs: Tensor = self.output(features).float()
        if self.denoiser.bayes_skip and state is not None and state.y_t is not None:
            assert alpha_bar is not None
            # Bayes: log p(k | c, y_t) = log p(k | c) + log q(y_t | k) + const.
            c_t = log_likelihood_scale(alpha_bar, self.schedule.scale)
            outputs = outputs + c_t.unsqueeze(-1) * state.y_t
        return outputs

    def losses(
        self, outputs: Tensor, labels: Tensor, alpha_bar: Tensor, noise: Tensor | None
    ) -> Tensor:
        """The loss of each of the labels (B, R, N), of the same shape; see `Loss`."""
        losses = self.loss(outputs, labels, alpha_bar, noise)
        if getattr(losses, "shape", None) != labels.shape:
            self._checked(losses, labels.shape, "loss", "losses")
        return losses

    def logits(
        self, outputs: Tensor, y_t: Tensor | None, alpha_bar: Tensor, places: Tensor | None = None
    ) -> Tensor:
        """Unnormalised log p(y_0 | y_t, c); next to nothing for classes a token cannot take.

        Args:
            outputs: (B, R, n, K).
            y_t: where the loss needs it.
            alpha_bar: broadcastable to (B, R, n).
            places: which of the N tokens these are; None: all.
        """
        logits = self.loss.logits(outputs, y_t, alpha_bar)
        if getattr(logits, "shape", None) != outputs.shape:
            self._checked(logits, outputs.shape, "loss", "logits")
        if self.forbidden is None:
            return logits
        return logits + (self.forbidden if places is None else self.forbidden[places])

    def forward(self, state: State, t: Tensor, prepared: tuple[Tensor, ...]) -> Tensor:
        """The K outputs of N labels that each see all, (B, R, N, K)."""
        return self.outputs(self.features(state, t, prepared), state, self.schedule.alpha_bar(t))


def zero_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that starts at zero: what it adds to starts as if it were not there."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def completed(
    side_inputs: SideInputs, columns: Sequence[Column], count: int, device: torch.device
) -> SideInputs:
    """Each of the columns for `count` images, on the device; missing where it is not given."""
    complete: dict[str, Tensor | tuple[str, ...]] = {}
    for column in columns:
        value = side_inputs.get(column.name)
        if value is None:
            match column.kind:
                case "text":
                    value = ("",) * count
                case "category":
                    value = torch.full((count,), NO_CATEGORY)  # (B,)
                case "number":
                    value = torch.full((count,), torch.nan)
        if isinstance(value, Tensor):
            value = value.to(device, non_blocking=True)
        complete[column.name] = value
    return complete


def shaped(given: Any, expected: Sequence[int | str], kind: str, what: str, maker: str = "") -> Any:
    """The tensor itself, once its shape is as expected, so that a wrong one is not broadcast.
    Raises `PluginError` if it is no tensor, or has another shape.

    Args:
        given: what a component returned.
        expected: sizes; a word is any size.
        kind: of the component.
        what: the tensor is, such as "a condition".
        maker: the component's name and package, if it is not addkit's own.
    """
    shape = getattr(given, "shape", None)
    if shape is not None and len(shape) == len(expected):
        pairs = zip(shape, expected, strict=True)
        if all(isinstance(size, str) or actual == size for actual, size in pairs):
            return given
    found = f"type {type(given).__name__}" if shape is None else f"shape {tuple(shape)}"
    sizes = ", ".join(map(str, expected))
    who = f"the {kind} {maker}".strip()
    raise PluginError(f"{who} gave {what} of {found}, not ({sizes})", checkable=bool(maker))
