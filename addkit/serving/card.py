"""What a served model is and takes: `GET /model`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from addkit.model import Predictor
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


class ModelCard(BaseModel):
    """A model: exactly one of labels, attributes and captions is not null."""

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
    captions: Captions | None
    side_inputs: list[SideInput]
    loops: Annotated[bool, Field(description="True if chains iterate on a noisy label.")]
    inference: Annotated[dict[str, Any], Field(description="Settings where a request has none.")]
    scores: Annotated[
        dict[str, float | None], Field(description="On the test split; empty if never scored.")
    ]
    limits: Annotated[dict[str, float], Field(description="Most that a request may have.")]


def model_card(predictor: Predictor, limits: Limits, path: Path | None = None) -> ModelCard:
    """The card of a loaded model.

    Args:
        predictor: the model.
        limits: of the server.
        path: of its run, checkpoint or pack; None: it has no scores.
    """
    facts, inference = predictor.facts, predictor.inference
    name, scores = predictor.recipe.model_name, {}
    if path is not None:
        run, checkpoint = find_trained(path)
        manifest = pack_manifest(path) if is_pack(path) else run.manifest()
        name = run.model_name
        # A checkpoint in the middle of a training has no scores of its own.
        if is_pack(path) or (run.finished and checkpoint == find_trained(run.path)[1]):
            scores = manifest.scores.get(predictor.weights, {})
    names = list(predictor.class_names)
    attributes = {
        token: names[slice(*ids)]
        for token, ids in zip(facts.token_names, facts.token_classes, strict=True)
    }
    captions = None
    if facts.pad is not None:
        vocabulary = [word for index, word in enumerate(names) if index != facts.pad]
        captions = Captions(tokens=facts.num_tokens, vocabulary=vocabulary)
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
        labels=None if attributes or captions else names,
        attributes=attributes or None,
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
        limits=asdict(limits),
    )
