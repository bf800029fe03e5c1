"""Hostile values for every key: the reader refuses them with file and line, or a plan is made."""

from __future__ import annotations

import contextlib
import json
import os
import random
import warnings
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from addkit.errors import AddkitError, RecipeError
from addkit.model import build_data, build_network, problem_of
from addkit.planning.dry_run import dry_run
from addkit.plugin.values import DataFacts
from addkit.recipe import Recipe, read_recipe
from addkit.recipe.errors import FaultyRecipeError
from addkit.recipe.files import MOST_BYTES, MOST_FILES
from addkit.recipe.model import placed
from addkit.recipe.reading import Top
from addkit.recipe.tables import SHARED_TABLES
from addkit.training.plan import Plan

ROUNDS = int(os.environ.get("ADDKIT_HOSTILE_ROUNDS", "2"))
INFERENCE = ("sampler", "to_one", "read_out", "tracker")
SMALL = ("encoder.name=cnn", "encoder.widths=[8]", "denoiser.width=16")
VALUES = (
    *("0", "-1", "1", "2", "3", "0.5", "-0.0", "1e308", "-1e308", "1e300", "1e-320", "1e30"),
    *("inf", "-inf", "nan", "100_000", str(2**31 - 1), str(2**31), str(2**40), str(2**63 - 1)),
    *(str(2**63), str(2**64), str(-(2**63)), "0x10000000000000000"),
    *('""', '" "', '"a"', '"auto"', f'"{"x" * 5000}"', '"../x"', '"/dev/zero"', '"\\u0000"'),
    *(
        '"\\u001b[2J"',
        '"a\\nb"',
        '"é😀"',
        '"0"',
        '"1e3"',
        '"NaN"',
        "true",
        "false",
        "{}",
        "{a = 1}",
    ),
    *("[]", "[0]", "[1]", "[1, 1]", "[0, 0]", "[-1]", "[[1]]", "[1e308]", f"[{2**63}]", '["a", 1]'),
    *('[""]', "[nan]", "[1e-320]", f"[{'0, ' * 3000}]", "[{}]", "1979-05-27", "07:32:00"),
)
WITH = {
    "digits": [
        *(
            "loss.name=weighted-ce",
            "loss.name=mse denoiser.bayes_skip=false read_out.name=last",
            "denoiser.name=transformer denoiser.heads=4",
        ),
        *("denoiser.name=control", "schedule.name=linear", "schedule.name=sigmoid"),
        *("schedule.name=label-accuracy", "timesteps.name=warped", "to_one.name=sample"),
        *("to_one.name=softmax", "sampler.name=ddim", "embedding.name=linear"),
        *(
            "tracker.name=tensorboard",
            "data.name=fashion-mnist",
            "data.name=image-folder data.root=x",
        ),
        *("data.name=imagenet", "encoder.name=timm encoder.model=test_resnet"),
        "encoder.name=vit encoder.model=vit_tiny_patch16_224 encoder.patch_size=4",
    ],
    "emoji": [
        *("task.pad=mask", "process.name=masked embedding.name=token sampler.name=maskgit"),
        "process.name=autoregressive embedding.name=token sampler.name=beam",
        *("process.name=blocks sampler.name=left-to-right", "data.name=coco-captions"),
        *(
            "data.name=caption-folder data.root=x",
            "tokenizer.name=tokenizers-file tokenizer.pad=x tokenizer.file=x",
        ),
    ],
    "attributes": ["", "data.name=attribute-table data.file=x", "data.name=outfits"],
}
CASES = [(base, changes) for base, each in WITH.items() for changes in each]


@pytest.fixture(scope="module")
def facts() -> dict[str, DataFacts]:
    """Of the data sets that come with addkit."""
    recipes = {name: read_recipe(Path(name)) for name in WITH}
    facts = {name: build_data(recipe).facts for name, recipe in recipes.items()}
    build_network(recipes["digits"], facts["digits"], "meta")  # Imports are not timed below.
    return facts


def keys_of(recipe: Recipe) -> list[str]:
    """Every key of a recipe and of its components' settings."""
    tables: dict[str, Any] = {kind: c.spec.settings for kind, c in recipe.choices.items()}
    tables |= SHARED_TABLES
    keys = [f"{table}.{key}" for table, settings in tables.items() for key in settings.model_fields]
    return [*Top.model_fields, *keys]


Written = dict[str, str]
"""Dotted key -> value as TOML."""


def text_of(written: Written, base: str) -> str:
    lines, table = [f'extends = "{base}"'], ""
    for key, value in sorted(written.items(), key=lambda item: item[0].rpartition(".")[0]):
        header, _, name = key.rpartition(".")
        lines += [f"[{header}]"] if header != table else []
        lines.append(f"{name} = {value}")
        table = header
    return "\n".join(lines) + "\n"


def read(written: Written, base: str, changes: list[str]) -> Recipe:
    """The recipe of all values that the reader lets pass; each of the others has its line."""
    path = Path("x.toml")
    while True:
        text = text_of(written, base)
        path.write_text(text, "utf-8")
        try:
            return read_recipe(path, changes)
        except FaultyRecipeError as error:
            refused = set()
            for fault in error.faults:
                key = fault.key.partition("[")[0]
                hit = {
                    k for k in written if f"{k}.".startswith(f"{key}.") or key.startswith(f"{k}.")
                }
                if not hit:
                    # Components that the test has chosen, and with which a value does not go.
                    assert fault.origin.is_override, fault
                    hit = {k for k in written if f"[{k.partition('.')[0]}]" in fault.text}
                else:
                    assert fault.origin.place == "x.toml", fault
                    # The key's line, or the header of a table whose values do not go together.
                    line = text.splitlines()[fault.origin.line - 1]
                    name = key.rpartition(".")[2]
                    assert line.startswith((f"{name} =", f"[{name}]")), (line, fault)
                assert len(str(fault)) < 1500, fault
                refused |= hit
            assert refused, error
            written = {key: value for key, value in written.items() if key not in refused}


@pytest.mark.parametrize(("base", "words"), CASES, ids=lambda text: text.split()[0] if text else "")
def test_every_key(
    tmp_path: Path, monkeypatch: Any, facts: dict[str, DataFacts], base: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    dice = random.Random(base + words)
    changes = [*SMALL, *words.split()]
    keys = keys_of(read_recipe(Path(base), changes))
    for _ in range(ROUNDS):
        written = {key: dice.choice(VALUES) for key in keys}
        for change in changes:
            written.pop(change.partition("=")[0], None)
        start = process_time()
        recipe = read(written, base, changes)
        # What the reader lets pass can be planned and built, or is refused as the user's.
        with warnings.catch_warnings(), contextlib.suppress(AddkitError):
            warnings.simplefilter("ignore")
            Plan.of(recipe, 1000)
        with warnings.catch_warnings(), contextlib.suppress(AddkitError):
            warnings.simplefilter("ignore")
            problem = problem_of(recipe, facts[base])
            for kind in INFERENCE:
                choice = recipe.choices[kind]
                choice.spec.create(choice.config, problem)
            build_network(recipe, facts[base], "meta")
        assert process_time() - start < 5


def test_there_are_three_thousand() -> None:
    counts = [len(keys_of(read_recipe(Path(base), [*SMALL, *w.split()]))) for base, w in CASES]
    assert ROUNDS * sum(counts) >= 3000


def refused_extends(name: str | list[str]) -> str:
    Path("x.toml").write_text(f"extends = {json.dumps(name)}\n", "utf-8")
    start = process_time()
    with pytest.raises(FaultyRecipeError) as caught:
        read_recipe(Path("x.toml"))
    assert process_time() - start < 2
    (fault, *_) = caught.value.faults
    assert fault.origin.line == 1
    return fault.text


def test_what_a_recipe_cannot_extend(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with Path("huge.toml").open("wb") as file:
        file.truncate(100 * 2**20)
    for name in ("/dev/zero", "/dev/null", "pipe"):
        assert "pipe" in refused_extends(name)
    assert f"{MOST_BYTES:,}" in refused_extends("huge.toml")
    assert "cannot be read" in refused_extends("a\0b")
    assert "cannot be read" in refused_extends("x" * 5000)


def test_a_fan_of_bases(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to(".")
    # Two spellings of each file, so that the files double at each level.
    for level in range(40):
        Path(f"{level}.toml").write_text(f'extends = ["{level + 1}.toml", "loop/{level + 1}.toml"]')
    Path("40.toml").write_text("seed = 1")
    assert f"{MOST_FILES} files" in refused_extends("0.toml")
    assert f"{MOST_FILES} files" in refused_extends(["40.toml"] * 200)


def test_many_faults_are_cut_short(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    many = "\n".join(f"a{number} = 1" for number in range(5000))
    Path("x.toml").write_text(f'extends = "digits"\n[training]\n{many}\n')
    start = process_time()
    with pytest.raises(FaultyRecipeError) as caught:
        read_recipe(Path("x.toml"))
    assert len(caught.value.faults) <= 100
    assert process_time() - start < 5


def test_a_network_larger_than_any_machine(facts: dict[str, DataFacts]) -> None:
    wide = ("denoiser.name=transformer", "denoiser.width=65536", "denoiser.heads=8")
    recipe = read_recipe(Path("digits"), [*wide, "denoiser.mlp_ratio=100", "denoiser.depth=1000"])
    for device in ("meta", "cpu"):
        with pytest.raises(RecipeError, match=r"\[denoiser\]"):
            build_network(recipe, facts["digits"], device)


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("[augmentation]\nrand_augment = 'a'", "augmentation.rand_augment", 3),
        ("[training]\nbatch_size = 63", "training.batch_size", 3),
        ("[encoder]\nname = 'timm'\nmodel = 'resnet1'", "encoder.model", 4),
        ("[sampling]\nsteps = 'auto'", "sampling.steps", 3),
        ("[data]\nvalidation = 1e-300", "data.validation", 3),
    ],
)
def test_a_plan_names_the_line(
    tmp_path: Path, monkeypatch: Any, text: str, key: str, line: int
) -> None:
    monkeypatch.chdir(tmp_path)
    base = "attributes" if "validation" in text else "digits"
    Path("x.toml").write_text(f'extends = "{base}"\n{text}\n')
    recipe = read_recipe(Path("x.toml"))
    with pytest.raises(FaultyRecipeError) as caught, placed(recipe):
        dry_run(recipe)
    (fault,) = caught.value.faults
    assert (fault.origin.place, fault.origin.line, fault.key) == ("x.toml", line, key)
