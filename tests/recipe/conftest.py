"""Made-up components, so that these tests mind no built-in one, and a recipe of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from pydantic import Field, field_validator, model_validator

from addkit.errors import RecipeError
from addkit.plugin import KINDS, Config, Problem, Registry, Spec, hookimpl
from addkit.plugin.spec import Choices
from addkit.recipe import Recipe, read_recipe

BASE = """\
name = "base"
summary = "What the others extend."
seed = 1
[task]
name = "only"
[data]
name = "folder"
root = "photos"
[encoder]
name = "cnn"
[conditioner]
name = "mean-token"
[embedding]
name = "only"
[denoiser]
name = "only"
[schedule]
name = "cosine"
offset = 0.5
[loss]
name = "ce"
[to_one]
name = "only"
[sampler]
name = "only"
[read_out]
name = "only"
[training]
lr = 1e-3
"""
EXTENDS = 'extends = "base.toml"\n'

Read = Callable[..., Recipe]
Fails = Callable[..., str]


class Cosine(Config):
    offset: float = Field(0.008, gt=0, lt=1)
    steps: int = Field(10, multiple_of=5)


class Focal(Config):
    gamma: float


class Crop(Config):
    size: int
    flip: bool = False


class Folder(Config):
    root: Path
    mean: tuple[float, float] = (0.5, 0.5)
    words: tuple[str, ...] = Field(("a",), max_length=2)
    limit: int | Literal["all"] = "all"
    crop: Crop | None = None
    shares: dict[str, float] = Field(default_factory=dict)
    label: str = Field("x", min_length=1, pattern="^[a-z]*$")

    @field_validator("label")
    @classmethod
    def not_bad(cls, label: str) -> str:
        if label == "bad":
            raise ValueError("bad is taken")
        return label


class Early(Config):
    """A validator of mode "before" makes pydantic forget that it reads JSON."""

    widths: tuple[int, ...] = (1,)
    root: Path = Path()

    @model_validator(mode="before")
    @classmethod
    def as_it_is(cls, values: Any) -> Any:
        return values


def wants_class_token(config: Config, choices: Choices) -> Iterable[str]:
    encoder = choices["encoder"]
    if "class-token" not in encoder.spec.provides:
        yield f'it needs an encoder with a class token; encoder "{encoder.name}" has none'


def never(config: Any, problem: Problem) -> Any:
    raise AssertionError("nothing is built here")


def spec(kind: str, name: str, config: type[Config] = Config, **more: Any) -> Spec[Any, Any]:
    (cls,) = (one for one in KINDS if one.kind == kind)
    return cls(name=name, config=config, build=never, summary="", **more)


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    yield spec("schedule", "cosine", Cosine)
    yield spec("schedule", "linear")
    yield spec("loss", "ce")
    yield spec("loss", "mse")
    yield spec("loss", "weighted-ce")
    yield spec("loss", "focal", Focal)
    yield spec("data", "folder", Folder)
    yield spec("data", "early", Early)
    yield spec("conditioner", "mean-token")
    yield spec("conditioner", "class-token", check=wants_class_token)
    yield spec("encoder", "cnn")
    yield spec("encoder", "vit", provides=frozenset({"class-token"}))
    yield spec("tokenizer", "none")
    yield spec("tokenizer", "words")
    yield spec("process", "gaussian")
    yield spec("process", "masked")
    yield spec("timesteps", "power")
    yield spec("tracker", "none")
    for kind in ("task", "embedding", "denoiser", "to_one", "sampler", "read_out"):
        yield spec(kind, "only")


@pytest.fixture
def registry() -> Registry:
    return Registry.of([("fake 1.0", SimpleNamespace(addkit_components=addkit_components))])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("base.toml").write_text(BASE)
    return tmp_path


@pytest.fixture
def read(folder: Path, registry: Registry) -> Read:
    def read_text(text: str = "", *overrides: str) -> Recipe:
        Path("x.toml").write_text(EXTENDS + text, "utf-8")
        return read_recipe(Path("x.toml"), overrides, registry)

    return read_text


@pytest.fixture
def fails(read: Read) -> Fails:
    def error(text: str = "", *overrides: str) -> str:
        with pytest.raises(RecipeError) as caught:
            read(text, *overrides)
        return str(caught.value)

    return error
