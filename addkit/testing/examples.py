"""How the built-ins are tried where their defaults are too large, or need other facts."""

from __future__ import annotations

from addkit.testing.bench import Example

_ATTRIBUTES = {
    "num_tokens": 2,
    "token_names": ("animal", "size"),
    "token_classes": ((0, 4), (4, 7)),
}

_SMALL_VIT = {"patch_size": 4, "width": 24, "depth": 1, "heads": 2}


def example_of(kind: str, name: str, distribution: str) -> Example:
    """The kit's own for a built-in; defaults for everybody else."""
    return _BUILT_INS.get((kind, name), Example()) if distribution == "addkit" else Example()


def _captions() -> dict[str, object]:
    from addkit.tokenizers.settings import WordsConfig
    from addkit.tokenizers.words import Words

    names = ("<pad>", "<unk>", *"abcde")
    words = Words(WordsConfig.model_validate({}))
    return {"num_tokens": 3, "pad": 0, "unknown": 1, "class_names": names, "tokenizer": words}


def _tokenizer() -> dict[str, object]:
    return {"tokenizer": _captions()["tokenizer"]}


_BUILT_INS = {
    ("encoder", "vit"): Example(settings=_SMALL_VIT),
    ("encoder", "timm"): Example(settings={"model": "test_resnet"}, facts={"image_size": 64}),
    ("encoder", "cnn"): Example(settings={"widths": [8, 16]}),
    ("denoiser", "transformer"): Example(settings={"width": 16, "depth": 1, "heads": 2}),
    ("denoiser", "mlp"): Example(settings={"width": 16}),
    ("denoiser", "control"): Example(settings={"head": "mlp", "width": 16}),
    # Wide enough to keep the label, or it warns.
    ("embedding", "token"): Example(levels=(0.0, 1.0)),
    ("task", "captioning"): Example(facts=_captions()),
    ("task", "attributes"): Example(facts={**_ATTRIBUTES}),
    ("data", "emoji"): Example(settings={"image_size": 16}, facts=_tokenizer()),
    ("data", "emoji-attributes"): Example(settings={"image_size": 16}),
    ("data", "caption-folder"): Example(facts=_tokenizer()),
    ("data", "coco-captions"): Example(facts=_tokenizer()),
}
