"""Laws of encoders, conditioners, embeddings and denoisers."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn

from addkit.diffusion import corrupt
from addkit.plugin import load_registry
from addkit.testing.fixed_inputs import (
    condition_of,
    denoised,
    generator,
    images_of,
    levels_of,
    likelihoods_sum_to_one,
    network_of,
)
from addkit.testing.small_problem import (
    COPIES,
    IMAGES,
    Bench,
    Law,
    SkippedError,
    close,
    need,
    shaped,
)

DRAWS = 4096
"""Fresh labels on which the two doors of an embedding are compared."""

SIGMAS = 5.0
"""Largest distance of two means in standard errors; chance exceeds it once in a million."""


def is_a_module(bench: Bench) -> None:
    """It is a torch.nn.Module, so that its weights are trained and saved."""
    built = bench.build()
    need(isinstance(built, nn.Module), f"it is a {type(built).__name__}")


def has_sizes(bench: Bench) -> None:
    """Its width and its number of tokens are whole numbers of 1 or more."""
    built = bench.build()
    for name in ("width", "num_tokens"):
        # A denoiser has no num_tokens: 1 passes.
        value = getattr(built, name, 1)
        good = isinstance(value, int) and value >= 1
        need(good, f"{name} is {value!r}, not a whole number above 0")


def gives_tokens(bench: Bench) -> None:
    """Images (B, channels, size, size) become tokens (B, num_tokens, width), float32."""
    built = bench.build()
    shape = (IMAGES, built.num_tokens, built.width)
    shaped("the tokens", built(images_of(bench)), shape, torch.float32)


def counts_its_prefix(bench: Bench) -> None:
    """0 <= num_prefix_tokens < num_tokens; "class-token" is provided where there is a prefix."""
    built = bench.build()
    prefix, count = built.num_prefix_tokens, built.num_tokens
    need(0 <= prefix < count, f"num_prefix_tokens is {prefix} of {count} tokens")
    if "class-token" in bench.provides:
        need(prefix > 0, 'it provides "class-token" and has no prefix token')


def encodes_each_image_alone(bench: Bench) -> None:
    """In evaluation an image's tokens do not depend on the others in the batch."""
    built, images = bench.build(), images_of(bench)
    close("the first image alone", built(images[:1]), built(images)[:1])


def gives_a_condition(bench: Bench) -> None:
    """Tokens (B, L, W) become a condition (B, num_tokens, width), float32."""
    built = bench.build()
    shape = (IMAGES, built.num_tokens, built.width)
    shaped("the condition", condition_of(bench, built), shape, torch.float32)


def has_one_token_if_it_provides_that(bench: Bench) -> None:
    """It provides "one-token" only if its condition has one token."""
    count = bench.build().num_tokens
    if "one-token" in bench.provides:
        need(count == 1, f'it provides "one-token" and has {count}')


def conditions_each_image_alone(bench: Bench) -> None:
    """In evaluation an image's condition does not depend on the others in the batch."""
    built = bench.build()
    close("the first image alone", condition_of(bench, built, 1), condition_of(bench, built)[:1])


def embeds_states_and_labels(bench: Bench) -> None:
    """`read` of (B, R, N, K) and `draw` of (B, R, N) both give h, (B, R, N, D), float32."""
    built, labels, levels = bench.build(), bench.labels(), levels_of(bench)
    problem = bench.problem
    shape = (*labels.shape, problem.state_width)
    y_t = corrupt(labels, levels, problem.num_classes, generator(), problem.scale).y_t
    shaped("h as read", built.read(y_t, levels), shape, torch.float32)
    shaped("h as drawn", built.draw(labels, levels, generator()), shape, torch.float32)


def reads_what_it_draws(bench: Bench) -> None:
    """draw(labels) and read(corrupt(labels)) have the same mean and variance at every level."""
    built, problem = bench.build(), bench.problem
    # Every class in turn, as one image with DRAWS copies: one call for all of them.
    labels = (torch.arange(DRAWS) % problem.num_classes).view(1, DRAWS, 1)  # (1, R, 1)
    for level in bench.example.levels:
        levels = torch.full((1, 1, 1), level)
        noisy = corrupt(labels, levels, problem.num_classes, generator(3), problem.scale)
        # (1, R, 1, D), expanded where an embedding has one row for all classes.
        read = built.read(noisy.y_t, levels).expand(1, DRAWS, 1, -1).flatten(0, 2).double()
        # Another seed: the two are compared as distributions, not draw by draw.
        drawn = built.draw(labels, levels, generator(4)).expand(1, DRAWS, 1, -1)
        drawn = drawn.flatten(0, 2).double()  # (R, D)
        centred = (read - read.mean(0), drawn - drawn.mean(0))
        moments = {"mean": (read, drawn), "variance": (centred[0] ** 2, centred[1] ** 2)}
        for what, (left, right) in moments.items():
            # Welch's standard error of each coordinate; a coordinate that never varies has 0.
            error = ((left.var(0) + right.var(0)) / DRAWS).sqrt() + 1e-6
            apart = float(((left.mean(0) - right.mean(0)).abs() / error).max())
            need(
                apart <= SIGMAS,
                f"at alpha_bar = {level:g} the {what} of draw is {apart:.1f} standard errors from "
                f"that of read(corrupt(...)), more than {SIGMAS:g}",
            )


def leaves_likelihoods_exact(bench: Bench) -> None:
    """The probabilities of all sequences of labels sum to 1 under each process that has them."""
    built, problem = bench.build(), bench.problem
    registry = load_registry()
    for name in registry.names("process"):
        process = Bench(registry.get("process", name)).build()
        if bench.kind == "embedding":
            parts = {"width": problem.state_width, "embedding": built}
        elif "joint" in bench.provides:
            parts = {"width": built.width, "denoiser": built}
        else:
            raise SkippedError("its tokens do not see each other, and all have one likelihood")
        with contextlib.suppress(SkippedError):  # No likelihood is known for blocks of several.
            likelihoods_sum_to_one(network_of(process, problem.num_classes, 3, **parts))


def gives_features(bench: Bench) -> None:
    """H (B, R, N, D) becomes features (B, R, N, D); R = 1 if `uses_state` is false."""
    built = bench.build()
    copies = COPIES if built.uses_state else 1
    shape = (IMAGES, copies, bench.problem.num_tokens, built.width)
    shaped("the features", denoised(bench, built), shape, torch.float32)


def prepares_by_image(bench: Bench) -> None:
    """`prepare` gives a tuple of tensors with the images in front."""
    built, problem = bench.build(), bench.problem
    prepared = built.prepare(
        bench.normal(IMAGES, problem.num_condition_tokens, problem.condition_width)
    )
    need(isinstance(prepared, tuple), f"prepare gave a {type(prepared).__name__}, not a tuple")
    for part in prepared:
        need(isinstance(part, Tensor), f"prepare gave a {type(part).__name__} among its tensors")
        need(len(part) == IMAGES, f"a prepared tensor of {tuple(part.shape)} for {IMAGES} images")


def copies_do_not_see_each_other(bench: Bench) -> None:
    """The features of a copy do not depend on the other copies."""
    built, problem = bench.build(), bench.problem
    h = bench.normal(IMAGES, COPIES, problem.num_tokens, built.width, seed=4)
    t = torch.full((1, 1, 1), 0.4)
    prepared = built.prepare(
        bench.normal(IMAGES, problem.num_condition_tokens, problem.condition_width)
    )
    close("the first copy alone", built(h[:, :1], t, prepared), built(h, t, prepared)[:, :1])


def images_do_not_see_each_other(bench: Bench) -> None:
    """The features of an image do not depend on the others in the batch."""
    built, problem = bench.build(), bench.problem
    h = bench.normal(IMAGES, COPIES, problem.num_tokens, built.width, seed=4)
    t = torch.full((1, 1, 1), 0.4)
    condition = bench.normal(IMAGES, problem.num_condition_tokens, problem.condition_width)
    alone = built(h[:1], t, built.prepare(condition[:1]))
    close("the first image alone", alone, built(h, t, built.prepare(condition))[:1])


def reads_the_state_if_it_provides_that(bench: Bench) -> None:
    """Features depend on h exactly if `uses_state` is true.

    "reads-state" is provided if they do, or if the Bayes skip adds the noisy label to the logits.
    """
    built, problem = bench.build(), bench.problem
    provides = "reads-state" in bench.provides
    need(
        (built.uses_state or built.bayes_skip) == provides,
        f"uses_state is {built.uses_state}, bayes_skip is {built.bayes_skip}, and "
        f'"reads-state" is {"provided" if provides else "not provided"}',
    )
    h = bench.normal(IMAGES, COPIES, problem.num_tokens, built.width, seed=4)
    t = torch.full((1, 1, 1), 0.4)
    prepared = built.prepare(
        bench.normal(IMAGES, problem.num_condition_tokens, problem.condition_width)
    )
    # 1 + 2h: behind a layer norm a shift or a factor alone may change nothing.
    moved = float((built(h + 1 + h, t, prepared) - built(h, t, prepared)).abs().max())
    need((moved > 0) == built.uses_state, f"another h moves the features by {moved:.3g}")


def extends_as_it_is_called(bench: Bench) -> None:
    """With "joint", `extend` gives the features of the call and a longer prepared condition."""
    if "joint" not in bench.provides:
        raise SkippedError("treats each token by itself")
    built, problem = bench.build(), bench.problem
    h = bench.normal(IMAGES, 1, problem.num_tokens, built.width, seed=4)
    t = torch.full((1, 1, 1), 0.4)
    prepared = built.prepare(
        bench.normal(IMAGES, problem.num_condition_tokens, problem.condition_width)
    )
    features, extended = built.extend(h, t, prepared)
    close("extend and the call", features, built(h, t, prepared))
    need(len(extended) == len(prepared), f"{len(prepared)} prepared tensors became {len(extended)}")


ENCODER: tuple[Law, ...] = (
    is_a_module,
    has_sizes,
    gives_tokens,
    counts_its_prefix,
    encodes_each_image_alone,
)
CONDITIONER: tuple[Law, ...] = (
    is_a_module,
    has_sizes,
    gives_a_condition,
    has_one_token_if_it_provides_that,
    conditions_each_image_alone,
)
EMBEDDING: tuple[Law, ...] = (
    is_a_module,
    embeds_states_and_labels,
    reads_what_it_draws,
    leaves_likelihoods_exact,
)
DENOISER: tuple[Law, ...] = (
    is_a_module,
    has_sizes,
    gives_features,
    prepares_by_image,
    copies_do_not_see_each_other,
    images_do_not_see_each_other,
    reads_the_state_if_it_provides_that,
    extends_as_it_is_called,
    leaves_likelihoods_exact,
)
