from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import addkit
from addkit import LabelScore, Prediction, Predictor, Run
from addkit.data.digits import Digits
from addkit.data.settings import DigitsConfig
from addkit.errors import DataError, PluginError, RunError, UsageError
from addkit.evaluation.batches import Evaluator, Setting
from addkit.model import build_network
from addkit.plugin import load_registry
from addkit.runs.checkpoint_files import checkpoint_of

Trained = Callable[..., Path]


@pytest.fixture(scope="module")
def predictor(digits_run: Path) -> Predictor:
    return addkit.load(digits_run)


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    """Six images of the test split, as the data set prepares them."""
    return Digits(DigitsConfig.model_validate({})).split("test").batch(range(6), None).images


def test_predictions_are_typed(predictor: Predictor, digit_images: list[Path]) -> None:
    told = predictor.predict(digit_images, top=3)
    assert len(told) == 3
    for prediction in told:
        assert isinstance(prediction, Prediction)
        assert len(prediction.labels) == 3
        assert prediction.label is prediction.labels[0]
        assert prediction.steps == 1
        values = [score.probability for score in prediction.labels]
        assert values == sorted(values, reverse=True)
        for score in prediction.labels:
            assert isinstance(score, LabelScore)
            assert score.name == str(score.index)
            assert 0 <= score.probability <= 1
    everything = predictor.predict(digit_images, top=99)[0]
    assert len(everything.labels) == 10
    assert sum(score.probability for score in everything.labels) == pytest.approx(1, abs=1e-5)
    assert sum(score.votes for score in everything.labels) == pytest.approx(1, abs=1e-5)


def test_a_name_is_that_of_its_index(worded_run: Path, digit_images: list[Path]) -> None:
    names = Run(worded_run).facts().class_names
    for prediction in addkit.load(worded_run).predict(digit_images, top=10):
        assert [score.name for score in prediction.labels] == [
            names[score.index] for score in prediction.labels
        ]


def test_paths_words_open_files_and_single_ones_are_the_same(
    predictor: Predictor, digit_images: list[Path]
) -> None:
    told = predictor.predict(digit_images)
    assert predictor.predict([str(path) for path in digit_images]) == told
    assert predictor.predict([io.BytesIO(path.read_bytes()) for path in digit_images]) == told
    (one,) = predictor.predict(digit_images[:1])
    for single in (digit_images[0], str(digit_images[0]), io.BytesIO(digit_images[0].read_bytes())):
        assert predictor.predict(single) == one
    assert predictor.predict([]) == []


def test_tensors_are_what_the_data_set_prepares(predictor: Predictor, digits: torch.Tensor) -> None:
    told = predictor.predict(digits, top=10)
    with torch.inference_mode():
        answer = predictor.inference.answer(
            predictor.network.diffusion,
            predictor.network.condition(digits),
            torch.Generator().manual_seed(0),
        )
    for prediction, row in zip(told, answer.probabilities.squeeze(1), strict=True):
        assert prediction.label.index == int(row.argmax())
        assert [s.probability for s in prediction.labels] == pytest.approx(
            row.sort(descending=True).values.tolist()
        )


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 3, 8, 8), (2, 1, 9, 8), (2, 1, 8)])
def test_a_wrong_shape(predictor: Predictor, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        predictor.predict(torch.zeros(shape))
    for part in ("images", str(shape), "(B, *(1, 8, 8))"):
        assert part in str(caught.value)


def test_chains_vote(predictor: Predictor, digits: torch.Tensor) -> None:
    told = predictor.predict(digits, steps=4, chains=8, top=10)
    plain = predictor.predict(digits, top=10)
    for prediction, alone in zip(told, plain, strict=True):
        assert (prediction.steps, prediction.votes_steps) == (1, 4)
        assert all((8 * score.votes).is_integer() for score in prediction.labels)
        # The recipe's read-out is one pass: votes stand beside it and change no probability.
        assert [s.probability for s in prediction.labels] == pytest.approx(
            [s.probability for s in alone.labels]
        )


def test_the_seed_decides(predictor: Predictor, digits: torch.Tensor) -> None:
    ask = {"steps": 3, "read_out": "last", "sampler": "gibbs"}
    first = predictor.predict(digits, **ask, seed=1)
    assert predictor.predict(digits, **ask, seed=1) == first
    assert predictor.predict(digits, **ask, seed=2) != first


def test_guidance_early_exit_and_names(predictor: Predictor, digits: torch.Tensor) -> None:
    loop = predictor.predict(digits, steps=9, read_out="last", early_exit=2)
    assert {prediction.steps for prediction in loop} <= set(range(2, 10))
    assert min(prediction.steps for prediction in loop) < 9
    off = predictor.predict(digits, guidance=1.0)
    blind = predictor.predict(digits, guidance=0.0)
    assert off == predictor.predict(digits)
    assert len({prediction.label.index for prediction in blind}) == 1
    for name in ("ddim", "ancestral", "renoise", "gibbs"):
        assert len(predictor.predict(digits, sampler=name, read_out="mean", steps=2)) == 6


@pytest.mark.parametrize(
    ("ask", "error", "text"),
    [
        ({"steps": 0}, UsageError, "steps must be at least 1, found 0"),
        ({"chains": 0}, UsageError, "chains must be at least 1, found 0"),
        ({"guidance": -1.0}, UsageError, r"guidance must be at least 0, found -1.0"),
        ({"guidance": float("nan")}, UsageError, "guidance must be a finite number"),
        ({"sampler": "gibs"}, PluginError, r'no sampler is called "gibs" \(did you mean "gibbs"'),
        ({"read_out": "one-pas"}, PluginError, 'did you mean "one-pass"'),
        ({"to_one": "softmx"}, PluginError, 'did you mean "softmax"'),
    ],
)
def test_bad_questions(
    predictor: Predictor, digits: torch.Tensor, ask: dict, error: type, text: str
) -> None:
    with pytest.raises(error, match=text):
        predictor.predict(digits, **ask)


def test_a_file_that_is_no_image_is_named(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("not an image")
    with pytest.raises(DataError, match=r"notes\.png: no image"):
        predictor.predict([path])


def test_pictures_are_for_people(predictor: Predictor, digit_images: list[Path]) -> None:
    pictures = predictor.pictures(digit_images)
    assert pictures.shape == (3, 1, 8, 8)
    assert float(pictures.min()) == pytest.approx(0, abs=1e-6)
    assert float(pictures.max()) == pytest.approx(1, abs=1e-6)


def test_a_trace_holds_every_step(predictor: Predictor, digit_images: list[Path]) -> None:
    steps = predictor.trace(digit_images, predictor.inference.replace(steps=5))
    assert [step.index for step in steps] == list(range(5))
    assert [step.t for step in steps] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])
    assert all(step.logits.shape == (3, 1, 1, 10) for step in steps)
    assert all(step.y_t is not None and step.y_t.shape == (3, 1, 1, 10) for step in steps)


def test_batches_of_files(predictor: Predictor, digit_images: list[Path]) -> None:
    many = digit_images * 100
    told = predictor.predict(many)
    assert len(told) == 300 > predictor.recipe.sampling.batch_size
    assert {prediction.label.index for prediction in told[::3]} == {told[0].label.index}


def test_a_checkpoint_can_be_loaded(digits_run: Path, digits: torch.Tensor) -> None:
    last = checkpoint_of(Run(digits_run).checkpoints)
    assert last is not None
    first = digits_run / "checkpoints" / "step-00000019"
    whole = addkit.load(digits_run).predict(digits)
    assert addkit.load(str(last)).predict(digits) == whole
    assert addkit.load(first).predict(digits) != whole


def test_raw_and_averaged_weights_differ(digits_run: Path, digits: torch.Tensor) -> None:
    assert addkit.load(digits_run, weights="raw").predict(digits) != (
        addkit.load(digits_run).predict(digits)
    )
    with pytest.raises(UsageError, match='weights "best"; known: ema, raw'):
        addkit.load(digits_run, weights="best")


def test_controls_answer_too(digits_run: Path, digits: torch.Tensor) -> None:
    for head in ("linear", "mlp"):
        told = addkit.load(digits_run / "controls" / head).predict(digits)
        assert len(told) == 6


def test_nothing_to_load(tmp_path: Path, digits_run: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(RunError, match=r"nowhere: no such run folder$"):
        addkit.load(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r'rnu: no such run folder \(did you mean "run"\?\)'):
        addkit.load(tmp_path / "rnu")
    with pytest.raises(RunError, match="not a run"):
        addkit.load(tmp_path)
    run = Path(shutil.copytree(digits_run, tmp_path / "begun"))
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    with pytest.raises(RunError, match="begun: this run has no checkpoint yet"):
        addkit.load(run)


def test_a_run_outlives_its_encoders_first_weights(
    tmp_path: Path, trained: Trained, digits: torch.Tensor
) -> None:
    vit = [
        *("encoder.name=vit", "encoder.model=vit_tiny_patch16_224", "encoder.patch_size=4"),
        *("encoder.width=16", "encoder.depth=1", "encoder.heads=2"),
        *("training.epochs=1", "control.heads=[]"),
    ]
    run = Run(trained(tmp_path / "plain", *vit))
    first = build_network(run.recipe(), run.facts()).encoder.state_dict()
    stored = {key.removeprefix("model."): value for key, value in first.items()}
    weights = tmp_path / "first.safetensors"
    save_file(stored, weights)
    path = trained(tmp_path / "given", *vit, f'encoder.weights="{weights}"')
    told = addkit.load(path).predict(digits)
    weights.unlink()
    assert addkit.load(path).predict(digits) == told
    # They were the weights that it would have drawn itself.
    assert told == addkit.load(run.path).predict(digits)


def test_a_pointer_names_a_checkpoint(digits_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(digits_run, run)
    oldest = min(run.glob("checkpoints/step-*"))
    (run / "checkpoints" / "best").write_text(f"{oldest.name}\n")
    images = torch.zeros(1, 1, 8, 8)
    pairs = ((run / "checkpoints" / "latest", run), (run / "checkpoints" / "best", oldest))
    for pointer, meant in pairs:
        assert addkit.load(pointer).predict(images) == addkit.load(meant).predict(images)
    assert addkit.load(run).predict(images) != addkit.load(oldest).predict(images)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in ("read_out", "to_one", "sampler")
     for name in load_registry().names(kind)],
)  # fmt: skip
def test_answers_that_are_not_finite_are_refused(
    digits_run: Path, digits: torch.Tensor, kind: str, name: str
) -> None:
    broken = addkit.load(digits_run)
    with torch.no_grad():
        next(broken.network.encoder.parameters()).fill_(torch.nan)
    settings = {"steps": 2, "read_out": "last", kind: name}
    try:
        inference = broken.inference.replace(**settings)
    except UsageError:
        return  # A sampler of other processes.
    source = Digits(DigitsConfig.model_validate({})).split("test")
    evaluator = Evaluator.for_predictor(broken, source, 0)
    for ask in (
        lambda: broken.predict(digits, **settings),
        lambda: next(evaluator.predict_batches({"one": Setting(inference)})),
    ):
        with pytest.raises(RunError, match=rf"not finite .*{name if kind == 'read_out' else ''}"):
            ask()
