"""What a served model is and takes: `GET /model`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from addkit.errors import UsageError
from addkit.evaluation.results import Score
from addkit.model import Inference, Predictor
from addkit.model.predictor import find_trained
from addkit.runs.packs import is_pack, pack_manifest
from addkit.serving.limits import Limits
from addkit.version import __version__


class Captions(BaseModel):
    """The captions that a model writes."""

    tokens: Annotated[int, Field(description="Most tokens of a caption.")]
    vocabulary: Annotated[list[str], Field(description="Tokens; templates are made of them.")]


class SideInput(BaseModel):
    """A column that the model reads in addition to the picture."""

    name: str
    kind: Annotated[str, Field(description="number, category or text.")]
    categories: list[str]


class Headline(BaseModel):
    """The task's own score, as addkit prints it."""

    title: str
    value: str
    unit: str


class ModelCard(BaseModel):
    """A model: exactly one of labels, attributes, tags and captions is not null."""

    name: Annotated[str, Field(description="Name of its recipe.")]
    model: Annotated[str, Field(description="ADD, masked diffusion, ...")]
    addkit: Annotated[str, Field(description="Version of the server.")]
    weights: Annotated[str, Field(description="ema (averaged) or raw.")]
    step: Annotated[int | None, Field(description="Optimizer step of these weights.")]
    parameters: int
    image_size: Annotated[int, Field(description="Pixels of a side, as the network reads it.")]
    image_channels: int
    labels: Annotated[list[str] | None, Field(description="Of models of one label.")]
    attributes: Annotated[
        dict[str, list[str]] | None, Field(description="Values by name, of models of several.")
    ]
    tags: Annotated[list[str] | None, Field(description="Known as yes or no each.")]
    captions: Captions | None
    side_inputs: list[SideInput]
    loops: Annotated[bool, Field(description="True if chains iterate on a noisy label.")]
    inference: Annotated[dict[str, Any], Field(description="Settings where a request has none.")]
    scores: Annotated[
        dict[str, float | None], Field(description="On the test split; empty if never scored.")
    ]
    headline: Headline | None
    samplers: Annotated[list[str], Field(description="Those that can walk the model's process.")]
    evidence: Annotated[
        Literal["state", "bias"] | None,
        Field(description="How soft evidence on attributes is taken in; null: not at all."),
    ]
    evidence_sampler: Annotated[
        str | None, Field(description="`sampler` to ask for with evidence; null: none is needed.")
    ]
    limits: Annotated[dict[str, float], Field(description="Most that a request may have.")]


def _evidence(inference: Inference) -> tuple[Literal["state", "bias"] | None, str | None]:
    """How soft evidence is taken in, and the sampler to name for it."""
    if not inference.problem.token_names:
        return None, None
    # The network need not have been trained for the process's own way.
    with suppress(UsageError):
        return inference.with_evidence().evidence_way, None
    samplers = inference.samplers({"evidence-as-bias"})
    if inference.sampler.name in samplers:
        return "bias", inference.sampler.name
    return ("bias", samplers[0]) if samplers else (None, None)


def model_card(predictor: Predictor, limits: Limits, path: Path | None = None) -> ModelCard:
    """The card of a loaded model.

    Args:
        predictor: the model.
        limits: of the server.
        path: of its run, checkpoint or pack; None: it has no scores.
    """
    facts, inference = predictor.facts, predictor.inference
    name, scores = predictor.recipe.model_name, {}
    score = Score.named(predictor.task.headline)
    if path is not None:
        run, checkpoint = find_trained(path)
        manifest = pack_manifest(path) if is_pack(path) else run.manifest()
        name = run.model_name
        # A checkpoint in the middle of a training has no scores of its own.
        if is_pack(path) or (run.finished and checkpoint == find_trained(run.path)[1]):
            scores = manifest.scores.get(predictor.weights, {})
    names = list(predictor.class_names)
    tags = list(facts.token_names) if facts.tag_shares else None
    attributes = {
        token: names[slice(*ids)]
        for token, ids in zip(facts.token_names, facts.token_classes, strict=True)
        if not tags
    }
    captions = None
    if facts.pad is not None:
        vocabulary = [word for index, word in enumerate(names) if index != facts.pad]
        captions = Captions(tokens=facts.num_tokens, vocabulary=vocabulary)
    evidence, evidence_sampler = _evidence(inference)
    settings = ("steps", "guidance", "chains", "early_exit")
    components = ("sampler", "to_one", "read_out")
    return ModelCard(
        name=predictor.recipe.name,
        model=name,
        addkit=__version__,
        weights=predictor.weights,
        step=predictor.step,
        parameters=sum(each.numel() for each in predictor.network.parameters()),
        image_size=facts.image_size,
        image_channels=facts.image_channels,
        labels=None if tags or attributes or captions else names,
        attributes=attributes or None,
        tags=tags,
        captions=captions,
        side_inputs=[
            SideInput(name=each.name, kind=each.kind, categories=list(each.categories))
            for each in facts.columns
            if predictor.network.diffusion.reads_side_inputs
        ],
        loops=predictor.loops,
        inference={
            **{key: getattr(inference, key) for key in settings},
            **{kind: getattr(inference, kind).name for kind in components},
            "one_pass": inference.one_pass,
        },
        scores=scores,
        headline=Headline(title=score.title, value=score.text(scores[score.name]), unit=score.unit)
        if score.name in scores
        else None,
        samplers=inference.samplers(),
        evidence=evidence,
        evidence_sampler=evidence_sampler,
        limits=asdict(limits),
    )
