"""What others rely on: recipes, names, the command line's words and its JSON."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from PIL import Image

import addkit
from addkit.cli.main import app
from addkit.errors import AddkitWarning
from addkit.plugin import Problem, load_registry
from addkit.plugin.values import DataFacts
from addkit.recipe import dump_recipe, read_recipe, recipe_from_tables
from addkit.tokenizers.settings import WordsConfig
from addkit.tokenizers.words import Words
from addkit.training.control import control_recipe, heads_of

ROOT = Path(__file__).parents[1]
RECIPES = sorted(ROOT.glob("recipes/*.toml"), key=lambda path: path.stem)

FACTS = DataFacts(
    num_classes=10,
    class_names=tuple("0123456789"),
    image_size=28,
    image_channels=1,
    mean=(0.5,),
    std=(0.5,),
    shorter_side=28,
    split_sizes={"train": 100, "test": 10},
)
"""Of recipes whose data is not at hand: the size of an MLP control follows from them."""

CATALOGUE = (
    "addkit.tasks",
    "addkit.tokenizers",
    "addkit.data",
    "addkit.encoders",
    "addkit.conditioners",
    "addkit.processes",
    "addkit.embeddings",
    "addkit.denoisers",
    "addkit.schedules",
    "addkit.timesteps",
    "addkit.losses",
    "addkit.to_one",
    "addkit.samplers",
    "addkit.read_outs",
    "addkit.trackers",
)

COMPONENTS = {
    "task": ("attributes", "captioning", "classification", "tags"),
    "tokenizer": ("none", "open-clip", "tokenizers-file", "words"),
    "data": (
        "attribute-table",
        "caption-folder",
        "coco-captions",
        "coco-tags",
        "digits",
        "emoji",
        "emoji-attributes",
        "emoji-tags",
        "fashion-mnist",
        "image-folder",
        "imagenet",
        "linked-outfits",
        "outfits",
        "tag-folder",
        "tag-table",
    ),
    "encoder": ("cnn", "timm", "vit"),
    "conditioner": ("all-tokens", "class-token", "class-tokens", "mean-token"),
    "process": ("autoregressive", "blocks", "gaussian", "masked"),
    "embedding": ("linear", "posterior", "token"),
    "denoiser": ("control", "linear", "mlp", "transformer"),
    "schedule": ("cosine", "label-accuracy", "linear", "sigmoid"),
    "timesteps": ("discrete", "power", "warped"),
    "loss": ("asymmetric", "ce", "mse", "mse-noise", "weighted-ce"),
    "to_one": ("argmax", "sample", "softmax"),
    "sampler": (
        "ancestral",
        "beam",
        "ddim",
        "gibbs",
        "leave-one-out",
        "left-to-right",
        "maskgit",
        "refine",
        "renoise",
        "surest-beam",
        "weighted-draws",
    ),
    "read_out": ("consensus", "last", "likelihood", "mean", "one-pass", "vote"),
    "tracker": ("mlflow", "none", "tensorboard", "wandb"),
}

NOTHING = {("tokenizer", "none"), ("timesteps", "power"), ("tracker", "none")}
"""Components that stand for having none."""

COMMANDS = {
    "train": "recipe --set --run-dir --resume --fresh --report/--no-report --json --processes "
    "--deterministic --profile --dry-run --find-lr --images-per-second --measure --mfu --gpu",
    "sample": "images --run --steps --guidance --chains --to-one --sampler --read-out --template "
    "--length --given --evidence --votes --annotators --input --weights --seed --top --json "
    "--jsonl --trace",
    "evaluate": "--run --split --steps --guidance --read-out --sampler --to-one --chains "
    "--early-exit --weights --set --audit/--no-audit --table3/--no-table3 --clip "
    "--uncertainty --seed --json",
    "ablate": "recipe --loss --schedule --timesteps --embedding --denoiser --encoder --conditioner "
    "--tokenizer --process --to-one --sampler --read-out --guidance --steps --axis --controls "
    "--seeds --grid/--one-at-a-time --metric --set --jobs --store --dry-run --json",
    "repair": "table --run --recipe --folds -o --most --set --weights --json",
    "export": "run --to -o --precision --force --steps --sampler --to-one --read-out --weights "
    "--set --json",
    "report": "folder -o --set --json",
    "plot": "figure folder -o --set --json",
    "pack": "run -o --weights --license --json",
    "push": "run repository --weights --license --private --token --json",
    "serve": "run --host --port --token --workers --device --weights --max-body --max-pixels "
    "--max-steps --max-chains --queue",
    "plugins list": "--kind --requirements --json",
    "plugins show": "kind name --json",
    "plugins check": "package --json",
    "plugins new": "name --kind --directory --json",
    "data shard": "recipe out --set --shard-size --jobs --verify --json",
    "schedule show": "names --classes --scale --suggest -o --json",
    "recipes list": "--json",
    "recipes show": "recipe --set --resolved --json",
    "recipes check": "files --set --json",
    "recipes diff": "left right --json",
    "runs list": "--root --json",
    "runs show": "run --json",
    "runs compare": "which -o --json",
    "schema": "",
    "env": "--json",
}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads_and_survives_its_dump(path: Path) -> None:
    recipe = read_recipe(path)
    dumped = dump_recipe(recipe)
    again = recipe_from_tables(tomllib.loads(dumped), path)
    assert recipe.name == path.stem
    assert recipe.summary
    assert again.tables() == recipe.tables()
    assert dump_recipe(again) == dumped


def test_the_recipes_are_all_there() -> None:
    names = {
        *("attributes", "caption-folder", "coco", "coco-karpathy", "digits", "emoji"),
        *("fashion-mnist", "fashion-mnist-paper", "image-folder", "imagenet", "outfits"),
        "evidence",
    }
    assert names <= {path.stem for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_has_controls_of_its_task(path: Path) -> None:
    recipe = read_recipe(path)
    for head in heads_of(recipe):
        control = control_recipe(recipe, head, FACTS)
        assert heads_of(control) == ()
        assert control.choices["data"] == recipe.choices["data"]


@pytest.mark.parametrize("name", ["attributes", "digits", "emoji"])
def test_recipes_of_embedded_data_can_begin(name: str) -> None:
    from addkit.planning.dry_run import dry_run

    told = dry_run(read_recipe(ROOT / "recipes" / f"{name}.toml")).data()
    assert told["parameters"]["total"] > 0
    assert {"train", "test"} <= set(told["splits"])
    assert (told["tokens"] > 1) == (name != "digits")


@pytest.fixture(scope="module")
def imagenet() -> dict[str, Any]:
    from addkit.planning.dry_run import dry_run

    with pytest.warns(AddkitWarning, match="only 23 % of the training times are informative"):
        return dry_run(read_recipe(ROOT / "recipes" / "imagenet.toml"), 8).data()


def test_imagenet_has_the_papers_sizes(imagenet: dict[str, Any]) -> None:
    parts = imagenet["parameters"]
    assert list(parts) == ["encoder", "denoiser", "projections", "total"]
    assert 86e6 <= parts["encoder"] <= 87e6
    assert 23.5e6 <= parts["denoiser"] <= 24.5e6
    assert 110e6 <= parts["total"] <= 111.5e6
    assert parts["total"] == parts["encoder"] + parts["denoiser"] + parts["projections"]


def test_imagenet_has_the_papers_training(imagenet: dict[str, Any]) -> None:
    recipe = read_recipe(ROOT / "recipes" / "imagenet.toml")
    training, data = recipe.training, recipe.choices["data"].config
    assert (training.reuse, training.epochs, training.warmup_epochs) == (4, 500, 20)
    assert (training.base_lr, training.weight_decay, training.clip_norm) == (1e-4, 0.3, 3.0)
    assert training.batch_size == 4096
    assert recipe.distributed.processes_per_node == "auto"
    assert data.mean == (0.485, 0.456, 0.406)
    assert data.std == (0.229, 0.224, 0.225)
    assert imagenet["learning_rate"] == pytest.approx(1.6e-3)
    assert imagenet["learning_rate_rule"] == "base_lr 0.0001 x batch 4096 / 256"
    assert (imagenet["global_batch"], imagenet["per_process_batch"]) == (4096, 512)
    assert (imagenet["processes"], imagenet["accumulation"]) == (8, 1)
    assert imagenet["steps_per_epoch"] == 1_281_167 // 4096
    assert imagenet["steps"] == 500 * imagenet["steps_per_epoch"]
    assert imagenet["warmup_steps"] == 20 * imagenet["steps_per_epoch"]


def test_imagenet_memory_grows_with_its_parts(imagenet: dict[str, Any]) -> None:
    memory = imagenet["memory"]
    assert memory["weights"] == 4 * imagenet["parameters"]["total"]
    assert memory["optimizer"] == 2 * memory["gradients"]
    assert memory["total"] == sum(size for part, size in memory.items() if part != "total")
    # ViT-B at 512 images keeps some tens of GiB under bf16.
    assert 10 * 2**30 < memory["activations"] < 200 * 2**30


def test_a_dry_run_tells_the_agreed_keys_and_writes_nothing(
    addkit: Callable[..., Any], recipes: Path, tmp_path: Path
) -> None:
    told = addkit("train", recipes / "digits.toml", "--dry-run", "--json", "--run-dir", "x").json
    agreed = {
        *("parameters", "global_batch", "per_process_batch", "accumulation"),
        *("steps_per_epoch", "steps", "learning_rate"),
    }
    assert agreed <= set(told)
    assert set(told["parameters"]) == {"encoder", "denoiser", "projections", "total"}
    assert told["steps"] == 30 * told["steps_per_epoch"] == 30 * (1258 // 64)
    assert told["learning_rate"] == 3e-3
    assert str(recipes / "digits.toml") in told["files"]
    assert any(file.endswith("digits.csv.gz") for file in told["files"])
    text = addkit("train", recipes / "digits.toml", "--dry-run")
    assert "steps per epoch x epochs" in text.out
    assert list(tmp_path.iterdir()) == []


def test_public_names() -> None:
    assert all(getattr(addkit, name) is not None for name in addkit.__all__)
    wanted = {"load", "read_recipe", "Run", "Recipe", "Prediction", "Predictor", "hookimpl"}
    assert wanted | {f"{kind}Spec" for kind in ("Encoder", "Data", "Loss", "ReadOut", "")} <= set(
        addkit.__all__
    )
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = addkit.lod


def test_the_command_line_has_these_words() -> None:
    group = typer.main.get_command(app)
    found = {
        name: " ".join(_word(parameter) for parameter in command.params)
        for name, command in _commands(group)
    }
    assert found == COMMANDS
    assert [_word(parameter) for parameter in group.params][:1] == ["--version"]


def _commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def _word(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.name)
    return "/".join([parameter.opts[0], *parameter.secondary_opts])


def test_built_in_components() -> None:
    registry = load_registry()
    built_in = {
        kind: tuple(
            name
            for name in registry.names(kind)
            if registry.get(kind, name).provider == f"addkit {addkit.__version__}"
        )
        for kind in COMPONENTS
    }
    assert built_in == COMPONENTS


def _every_spec() -> list[Any]:
    return [
        pytest.param(load_registry().get(kind, name).spec, id=f"{kind}-{name}")
        for kind, names in COMPONENTS.items()
        for name in names
    ]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """Settings of the components that have no default file or folder, by name."""
    photos = tmp_path / "photos"
    names = [f"{animal}/{letter}.png" for animal in ("cats", "dogs") for letter in "ab"]
    for number, name in enumerate(names):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(photos / name)
    lines = [f"{name},{name[:4]},{name[5]}" for name in names]
    table = photos / "captions.csv"
    table.write_text("\n".join(["image,caption,letter", *lines]), "utf-8")
    images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    captions = [{"image_id": number, "caption": name} for number, name in enumerate(names)]
    coco = tmp_path / "coco.json"
    coco.write_text(json.dumps({"images": images, "annotations": captions}), "utf-8")
    return {
        "timm": {"model": "resnet18"},
        "image-folder": {"root": photos},
        "attribute-table": {"file": table},
        "tag-folder": {"root": photos},
        "tag-table": {"file": table, "tag_column": "caption"},
        "caption-folder": {"root": photos},
        "coco-captions": {
            "root": photos,
            "train_captions": coco,
            "val_captions": coco,
            "train_images": photos,
            "val_images": photos,
        },
        "tokenizers-file": {"file": tmp_path / "tokenizer.json", "pad": "<pad>"},
    }


def _word_level(path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {"<pad>": 0, "<unk>": 1, "cat": 2}
    tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>")).save(str(path))


@pytest.mark.parametrize("spec", _every_spec())
def test_every_component_builds(spec: Any, files: dict[str, dict[str, Any]]) -> None:
    """With its defaults, and a file or folder where it has none."""
    assert spec.summary.endswith(".")
    settings = files.get(spec.name, {})
    if spec.name == "tokenizers-file":
        _word_level(settings["file"])
    if spec.name in ("tensorboard", "wandb", "mlflow"):
        pytest.importorskip(spec.name)
    problem = Problem(
        num_classes=10,
        num_tokens=2,
        token_names=("animal", "size"),
        token_classes=((0, 4), (4, 10)),
        pad=0,
        unknown=1,
        class_names=("<pad>", "<unk>", *"abcdefgh"),
        tokenizer=Words(WordsConfig.model_validate({})),
        image_size=224,
        encoder_width=32,
        num_encoder_tokens=5,
        num_prefix_tokens=1,
        condition_width=32,
        num_condition_tokens=1,
        state_width=32,
        mean_alpha_bar=0.5,
    )
    # The default ViT has 86 M weights.
    with torch.device("meta" if spec.kind == "encoder" else "cpu"):
        built = spec.create(spec.settings(**settings), problem)
    assert (built is None) == ((spec.kind, spec.name) in NOTHING)


def _loaded_after(code: str) -> set[str]:
    heavy = {"torch", "timm", "torchvision", "torchmetrics", "pydantic", "matplotlib", "numpy"}
    text = f"{code}\nimport sys\nprint(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()) if done.stdout.split() else set()


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    # For the help of one command's options typer itself asks pydantic.
    allowed = {"pydantic"} if len(words) > 1 else set()
    code = (
        "import contextlib, io, sys\n"
        f"sys.argv = ['addkit', *{words}]\n"
        "from addkit.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main()\n"
    )
    assert _loaded_after(code) <= allowed


def test_catalogues_recipes_and_plugins_load_no_torch() -> None:
    modules = ", ".join(("addkit.plugin", "addkit.recipe", "addkit.runs", *CATALOGUE))
    code = f"import {modules}\naddkit.plugin.load_registry()"
    assert _loaded_after(code) == {"pydantic"}  # addkit.runs loads it


@pytest.mark.parametrize("name", CATALOGUE)
def test_settings_lie_beside_their_catalogue_page(name: str) -> None:
    registry = load_registry()
    for declared in importlib.import_module(name).addkit_components():
        spec = registry.get(declared.kind, declared.name).spec
        assert spec.settings.__module__ == f"{name}.settings"
