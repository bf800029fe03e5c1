"""The claims of arXiv 2510.01047 v1, in the paper's order."""

from __future__ import annotations

from addkit_paper.claims.claim import Claim, Comparison
from addkit_paper.claims.quantities import (
    ArmScore,
    CaptionCosine,
    CaptionScore,
    CaptionValidation,
    EpochMean,
    GainOverSteps,
    LastStepAccuracy,
    MeanConfidence,
    ScoreAtSteps,
    Threshold,
)

ABLATE = ("addkit ablate {ablation} --seeds {seeds}",)
CAPTION = (
    "addkit train {captions} --set seed=0 --set "
    """'control.heads=["autoregressive", "masked", "masked-weighted", "one-shot"]'""",
)
COSINE = (*CAPTION, "addkit evaluate --run RUN --clip MODEL:WEIGHTS")

BASE, WITHOUT = ArmScore(), ArmScore({"loss.name": "ce"})
LINEAR, MLP = ArmScore({"control.heads": "linear"}), ArmScore({"control.heads": "mlp"})
CE = {"loss.name": "ce"}
ALPHA = "with the coefficient"
NO_ALPHA = "without the coefficient"

CATASTROPHE = 40.0
"""Points: about half of what a classifier of ten classes can lose above chance."""
ONE_HOT = 95.0
"""Percent: a mean probability from which the paper's "approximate one-hot" is granted."""

CLASSIFIERS = (
    Claim(
        name="beats-classifier",
        title="ADD beats the standard classifier",
        quote="ADD consistently outperforms the standard classifier baseline by a clear margin",
        place="table 1, section 4.2.1",
        paper="top-1 82.8 (83.0 without the coefficient) against 82.3 of a linear head",
        comparisons=(
            Comparison(f"ADD {ALPHA}, over a linear head", BASE, LINEAR),
            Comparison(f"ADD {NO_ALPHA}, over a linear head", WITHOUT, LINEAR),
            Comparison(f"ADD {ALPHA}, over an MLP head of its size", BASE, MLP, control=True),
            Comparison(f"ADD {NO_ALPHA}, over an MLP head of its size", WITHOUT, MLP, control=True),
        ),
        repeat=ABLATE,
        note="The paper's ADD has 24 M parameters more than its classifier. The MLP head has as "
        "many as ADD behind the condition, so that what ADD gains over it is due to the diffusion.",
    ),
    Claim(
        name="beats-larger",
        title="ADD beats a classifier of three times its size",
        quote="variants that employ nearly three times more parameters",
        place="table 1, section 4.2.1",
        paper="top-1 82.8 with 111 M parameters against 82.6 with 305 M",
        repeat=(
            "addkit train recipes/fashion-mnist-paper.toml --set 'control.heads=[\"linear\"]' "
            "--set 'encoder.widths=[64, 128, 256]'",
        ),
        note="The ablation has no arm with a larger encoder.",
    ),
    Claim(
        name="overfits",
        title="The classifier overfits, ADD does not",
        quote="began to overfit after 250 epochs, while our method showed potential for further "
        "improvement",
        place="figure 3, section 4.2.1",
        paper="of 300 epochs the classifier is best at 250; ADD still rises",
        comparisons=(
            Comparison(
                "linear head, fifth sixth of the epochs over the last",
                EpochMean(LINEAR.changes, 4 / 6, 5 / 6),
                EpochMean(LINEAR.changes, 5 / 6, 1.0),
            ),
            Comparison(
                "ADD, last sixth of the epochs over the fifth",
                EpochMean({}, 5 / 6, 1.0),
                EpochMean({}, 4 / 6, 5 / 6),
            ),
            Comparison(
                "MLP head, fifth sixth of the epochs over the last",
                EpochMean(MLP.changes, 4 / 6, 5 / 6),
                EpochMean(MLP.changes, 5 / 6, 1.0),
                control=True,
            ),
        ),
        repeat=("addkit ablate {ablation} --seeds {seeds} --set training.epochs=60",),
        note="Means over fixed parts of the training, as the paper's 250 of 300 epochs divide it: "
        "the best epoch of a noisy curve lies above its last one, whatever the truth.",
    ),
)

LOSSES = (
    Claim(
        name="regressive-loss",
        title="A regressive loss fails",
        quote="this substitution causes catastrophic degradation",
        place="table 2 rows 1 and 2, figure 4",
        paper="top-1 .13 with noise prediction against 82.72 with cross-entropy",
        comparisons=(
            Comparison(
                f"cross-entropy over predicting the noise, by {CATASTROPHE:.0f} points",
                BASE,
                ArmScore({"loss.name": "mse-noise"}),
                CATASTROPHE,
            ),
            Comparison(
                f"cross-entropy over predicting the clean label, by {CATASTROPHE:.0f} points",
                BASE,
                ArmScore({"loss.name": "mse"}),
                CATASTROPHE,
                control=True,
            ),
            Comparison(
                "cross-entropy over predicting the clean label, by anything",
                BASE,
                ArmScore({"loss.name": "mse"}),
                control=True,
            ),
        ),
        repeat=ABLATE,
        note="Noise has K directions and the network's trunk d, so predicting it must fail where "
        "K is far above d (`addkit theory rank-bottleneck`), as with the paper's 1,000 classes; "
        "at ten classes d is above. The fair control is a squared error on the clean label.",
    ),
    Claim(
        name="coefficient-accuracy",
        title="Without the coefficient accuracy is higher",
        quote="removing this coefficient leads to higher accuracy",
        place="table 2 rows 5 and 6, section 4.2.2",
        paper="top-1 82.96 without, 82.82 with",
        comparisons=(
            Comparison(f"{NO_ALPHA}, over with it", WITHOUT, BASE),
            Comparison(
                f"{NO_ALPHA}, over with it at equal gradient scale",
                WITHOUT,
                ArmScore({"loss.normalise": True}),
                control=True,
            ),
        ),
        repeat=ABLATE,
        note="The coefficient also makes all gradients smaller; the control divides it by its "
        "mean over t.",
    ),
    Claim(
        name="coefficient-loop",
        title="With the coefficient the loop gains more",
        quote="more modest improvements throughout the iterative process",
        place="figure 5, section 4.2.2",
        paper="curves over sampling steps, no numbers",
        comparisons=(
            Comparison(
                "gain from step 1 to 20 with the coefficient, over the gain without",
                GainOverSteps(ScoreAtSteps(1), ScoreAtSteps(20)),
                GainOverSteps(ScoreAtSteps(1, CE), ScoreAtSteps(20, CE)),
            ),
            Comparison(
                "where the loop starts, 1 step: without the coefficient, over with it",
                ScoreAtSteps(1, CE),
                ScoreAtSteps(1),
                control=True,
            ),
        ),
        repeat=ABLATE,
        note="The coefficient vanishes at t = T, where the loop starts: what it gains may be what "
        "its start has lost. The control tests that.",
    ),
)

SAMPLING = (
    Claim(
        name="guidance",
        title="Guidance helps",
        quote="classifier-free guidance plays an equally indispensable role in discrete diffusion",
        place="table 2 rows 3 and 4, section 4.2.2",
        paper="top-1 82.82 with guidance, 82.36 without",
        comparisons=(
            Comparison("with guidance, over without", BASE, ArmScore({"sampling.guidance": 1.0})),
        ),
        repeat=ABLATE,
        note="With the exact denoiser guidance only undoes what the loop loses (`addkit theory "
        "guidance`).",
    ),
    Claim(
        name="argmax",
        title="arg max + one-hot beats softmax",
        quote="arg max + one-hot projection yields a slight but consistent advantage",
        place="table 2 rows 7 and 8, section 4.2.2",
        paper="top-1 82.82 with arg max + one-hot, 82.35 with softmax",
        comparisons=(
            Comparison(
                "arg max fed back, over softmax", BASE, ArmScore({"to_one.name": "softmax"})
            ),
        ),
        repeat=ABLATE,
    ),
    Claim(
        name="steps-rise",
        title="Accuracy rises with the sampling steps",
        quote="significantly enhances the model's ability to progressively refine its predictions",
        place="figure 5, section 4.2.2",
        paper="both curves rise over steps, no numbers",
        comparisons=(
            Comparison(f"{ALPHA}, 20 steps over 1", ScoreAtSteps(20), ScoreAtSteps(1)),
            Comparison(f"{NO_ALPHA}, 20 steps over 1", ScoreAtSteps(20, CE), ScoreAtSteps(1, CE)),
            Comparison(
                f"{NO_ALPHA}, 20 steps over one pass at t = T",
                ScoreAtSteps(20, CE),
                ArmScore({**CE, "read_out.name": "one-pass"}),
                control=True,
            ),
        ),
        repeat=ABLATE,
        note="With the exact denoiser no loop beats one pass on one label (`addkit theory "
        "no-gain`).",
    ),
    Claim(
        name="steps-best",
        title="20 steps are best",
        quote="the best result is achieved after 20 iterations",
        place="figure 5, section 4.2.1",
        paper="curves over sampling steps, no numbers",
        comparisons=tuple(
            Comparison(
                f"{name}, 20 steps over {steps}",
                ScoreAtSteps(20, changes),
                ScoreAtSteps(steps, changes),
            )
            for name, changes in ((ALPHA, {}), (NO_ALPHA, CE))
            for steps in (1, 5, 10, 50)
        ),
        repeat=ABLATE,
    ),
    Claim(
        name="one-hot",
        title="The output approaches one-hot",
        quote="gradually denoise pure Gaussian noise into an approximate one-hot vector",
        place="figure 6",
        paper="one chain of 20 steps, drawn",
        comparisons=(
            Comparison(
                f"mean probability of the answer after the last step, over {ONE_HOT:.0f} %",
                MeanConfidence(),
                Threshold(ONE_HOT),
            ),
            Comparison(
                "right as often as it is sure", LastStepAccuracy(), MeanConfidence(), control=True
            ),
        ),
        repeat=("addkit evaluate --run RUN --uncertainty", "addkit plot chain RUN -o chain.svg"),
        note="RUN is each of the base's trainings. A loop that feeds back its own arg max becomes "
        "confident of it, right or wrong; the control tests whether the confidence is warranted, "
        "and does not hold where it is above the accuracy.",
    ),
    Claim(
        name="reuse",
        title="Feature reuse speeds up training",
        quote="substantial savings in compute and improves convergence speed",
        place="sections 3.3 and 4.1",
        paper="no numbers; four timesteps for each image",
        comparisons=(
            Comparison(
                "four timesteps for each image over one, after as many epochs",
                BASE,
                ArmScore({"training.reuse": 1}),
            ),
        ),
        repeat=ABLATE,
        note='It needs an arm with changes = ["training.reuse=1"].',
    ),
)

ADD, MASKED = CaptionScore("exact_match"), CaptionScore("exact_match", "masked")

CAPTIONS = (
    Claim(
        name="captions-masked",
        title="ADD captions better than masked diffusion",
        quote="substantially improves text generation quality over pseudo-discrete alternatives",
        place="table 3, figure 7, section 4.3",
        paper="CLIP score .25 against .18 of masked diffusion",
        comparisons=(
            Comparison("exact match, ADD over masked diffusion", ADD, MASKED),
            Comparison(
                "CLIP cosine, ADD over masked diffusion",
                CaptionCosine("ADD"),
                CaptionCosine("masked"),
            ),
            Comparison(
                "exact match, ADD over masked diffusion weighted by 1/t",
                ADD,
                CaptionScore("exact_match", "masked-weighted"),
                control=True,
            ),
            Comparison(
                "exact match, ADD over autoregression",
                ADD,
                CaptionScore("exact_match", "autoregressive"),
                control=True,
            ),
            Comparison(
                "exact match, ADD over one shot",
                ADD,
                CaptionScore("exact_match", "one-shot"),
                control=True,
            ),
            Comparison(
                "CLIP cosine, ADD over autoregression",
                CaptionCosine("ADD"),
                CaptionCosine("autoregressive"),
                control=True,
            ),
        ),
        repeat=COSINE,
        note="All have the same encoder, trunk, data and epochs, and masked diffusion the same "
        "share of fully masked rows. One shot is the trunk alone: the difference is due to the "
        "diffusion.",
    ),
    Claim(
        name="captions-match",
        title="ADD's captions match their images",
        quote="the captions predicted by ADD exhibit strong semantic alignment with the images",
        place="table 3, section 4.3",
        paper="CLIP score .25 against .16 of shuffled captions; .30 for the truth",
        comparisons=(
            Comparison(
                "CLIP cosine, ADD over shuffled captions",
                CaptionCosine("ADD"),
                CaptionCosine("shuffled captions"),
            ),
            Comparison(
                "CLIP cosine, ADD over the nearest training image's caption",
                CaptionCosine("ADD"),
                CaptionCosine("nearest copy"),
                control=True,
            ),
        ),
        repeat=COSINE,
    ),
    Claim(
        name="captions-steps",
        title="Iterating sharpens captions",
        quote="iterative refinement sharpens the entire sequence into a coherent sentence",
        place="section 3.4",
        paper="no numbers",
        comparisons=(
            Comparison("validation, 20 steps over 1", CaptionValidation(20), CaptionValidation(1)),
        ),
        repeat=CAPTION,
        note="With averaged weights and the run's own sampler, where `sampling.steps` is "
        '`"auto"`. It depends on the captions: where labels depend on each other given the image, '
        "iterating wins (docs/lab/dependent-labels.md).",
    ),
)

CLAIMS: tuple[Claim, ...] = (*CLASSIFIERS, *LOSSES, *SAMPLING, *CAPTIONS)
