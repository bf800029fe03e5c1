"""The declarations of a plugin: one `Spec` for each component. Imports neither torch nor typer."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import pluggy

from addkit.errors import PluginError, guess, require_type

if TYPE_CHECKING:
    from addkit.plugin.config import Config
    from addkit.plugin.protocols import (
        Conditioner,
        DataSource,
        Denoiser,
        Embedding,
        Encoder,
        Loss,
        Process,
        ReadOut,
        Sampler,
        Schedule,
        Task,
        Timesteps,
        Tokenizer,
        ToOne,
        Tracker,
    )
    from addkit.plugin.values import Column

API_VERSION = 2
"""Rises when plugins must change. A plugin module that sets `ADDKIT_API` is loaded only if it is
the same; a module that does not is loaded in any case."""

# The project's name of pluggy: a plugin's markers work for managers of the same name alone.
hookspec = pluggy.HookspecMarker("addkit")
hookimpl = pluggy.HookimplMarker("addkit")


@hookspec
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """Yield the components this plugin adds. Called once a process; must not import torch."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """A command that a plugin adds to `addkit`. Its module is imported only when it is called."""

    name: str
    """What a user types after `addkit`: lower case, digits and hyphens."""
    help: str
    """One line for `addkit --help`."""
    command: str
    """Import path of a function with typer's annotations, or of a `typer.Typer`:
    "my_package.commands:draw"."""


@hookspec
def addkit_commands() -> Iterable[CommandSpec]:
    """Yield the commands that this plugin adds. Must not import torch."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Facts that components share. Never settings: those belong to a component's own config.

    Facts become known in the order data, schedule, encoder, conditioner, denoiser; a builder sees
    those of the kinds before its own, and 0 (or empty) for the rest.
    """

    num_classes: int = 0
    """K, the size of the label set."""
    num_tokens: int = 1
    """N, labels for each image; 1 for classification."""
    token_names: tuple[str, ...] = ()
    """Joint labels: the name of each token."""
    token_classes: tuple[tuple[int, int], ...] = ()
    """Joint labels: the classes [start, stop) that each token can take."""
    combinations: tuple[tuple[int, ...], ...] = ()
    """Joint labels: the combinations that occur in training."""
    tag_shares: tuple[float, ...] = ()
    """Tags: the share of training images that have each of them."""
    pad: int | None = None
    """Captions: the class that ends and fills a caption."""
    unknown: int | None = None
    """Captions: the class of words outside the vocabulary."""
    tokenizer: Tokenizer | None = None
    """Captions: cuts them into tokens."""
    image_size: int = 0
    """Height and width of the encoder's input in pixels."""
    image_channels: int = 3
    class_names: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    """One label, in a training: training images of each class, for losses that weight classes."""
    columns: tuple[Column, ...] = ()
    """Side inputs, for conditioners that read them."""
    seed: int = 0
    scale: float = 1.0
    """b, the schedule's input scale."""
    t_power: float = 1.0
    """The schedule's own training times are u ** t_power."""
    mean_alpha_bar: float = 1.0
    """E_t[alpha_bar(t)] over training rows, those at t = T included, in (0, 1]."""
    encoder_width: int = 0
    num_encoder_tokens: int = 0
    num_prefix_tokens: int = 0
    """Encoder tokens before the patch tokens; the first of them is the class token."""
    condition_width: int = 0
    num_condition_tokens: int = 0
    state_width: int = 0
    """Width of h, the embedded noisy label that the denoiser reads."""

    def with_facts(self, **facts: Any) -> Problem:
        """A copy with these facts."""
        return replace(self, **facts)


# Settings and component of a kind: mypy checks that `build` of a LossSpec returns a Loss.
C = TypeVar("C", bound="Config")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Choice:
    """The component that a recipe's table names, with that table's checked settings."""

    spec: Spec[Any, Any]
    config: Any
    plugin: str = ""
    """The plugin that provides it, with its version or hash; empty for addkit's own."""

    @property
    def name(self) -> str:
        """What the recipe writes after `name =`."""
        return self.spec.name


Choices = Mapping[str, Choice]


def no_objection(config: Any, choices: Choices) -> Iterable[str]:
    """The default `Spec.check`: the component goes with everything."""
    return ()


@dataclass(frozen=True, slots=True)
class Spec(Generic[C, T]):
    """A component that a recipe can name: its name, settings, class and summary.

    LossSpec("brier", ".settings:BrierConfig", ".brier:Brier", "A squared error of p.")

    Nothing here imports torch, and a path in `build` is imported when a network is built, so that
    `--help`, recipe checks and the schema load no torch.
    """

    kind: ClassVar[str] = ""
    """The recipe table that names components of this kind."""
    default: ClassVar[str | None] = None
    """The component where a recipe has no such table; None: it must have one."""

    name: str
    """As in a recipe's `[schedule] name = "cosine"`: lower case, digits and hyphens."""
    config: str | type[C]
    """The class of its settings, a `Config`, or its import path: `addkit plugins list` then needs
    no pydantic. A path that begins with a dot is relative to the plugin's package."""
    build: str | type[T] | Callable[[C, Problem], T]
    """The component's class, or its import path such as "my_package.samplers:Churn". The class is
    called with keyword arguments: each parameter gets the setting of its name, else the fact of the
    `Problem` of its name; `config` gets all settings and `problem` all facts. Where that does not
    do, a function of (settings, problem) that returns the component."""
    summary: str
    """One line for listings."""
    _: KW_ONLY
    provides: frozenset[str] = frozenset()
    """Abilities that other components may ask for, see `ABILITIES`. Without `one-token`, say, a
    conditioner is taken to give many."""
    check: Callable[[C, Choices], Iterable[str]] = no_objection
    """Reasons why this component cannot go with the recipe's other choices; none means it can."""
    needs: Mapping[str, Any] = field(default_factory=dict)
    """Settings without which `check` objects, such as {"denoiser.bayes_skip": False}: an ablation
    that changes this component alone sets them too."""

    @property
    def settings(self) -> type[C]:
        """The class of its settings, imported where `config` is a path. Raises `PluginError` if the
        path leads nowhere, or to something that is no `Config`.
        """
        if not isinstance(self.config, str):
            return self.config
        settings: type[C] = imported(self.config)
        return settings

    def create(self, config: C, problem: Problem) -> T:
        """Build the component. Raises `PluginError` if a path leads nowhere, or the class and the
        settings do not fit.
        """
        require_type("config", config, self.settings)
        require_type("problem", problem, Problem)
        # Checked at each build, since importing the class earlier would load torch.
        build = self.checked_build()
        if not isinstance(build, type):
            component: T = build(config, problem)
            return component
        values = {fact.name: getattr(problem, fact.name) for fact in fields(problem)}
        # Settings come second: a recipe's value goes before a fact of the same name.
        values |= {name: getattr(config, name) for name in type(config).model_fields}
        values |= {"config": config, "problem": problem}
        names = inspect.signature(build).parameters
        built: T = build(**{name: values[name] for name in names if name in values})
        return built

    def checked_build(self) -> Any:
        """The class or function in `build`, imported, and a class checked against the settings.
        Raises `PluginError` if a path leads nowhere, or the class takes something that is neither a
        setting nor a fact, or takes no parameter for some setting.
        """
        build = imported(self.build) if isinstance(self.build, str) else self.build
        if not isinstance(build, type):
            return build
        settings = tuple(self.settings.model_fields)
        parameters = inspect.signature(build).parameters
        unread = [name for name in settings if name not in parameters]
        if unread and "config" not in parameters:
            raise PluginError(
                f"{build.__name__} takes no parameter for the setting {unread[0]!r}"
                f"{guess(unread[0], parameters)}"
            )
        # A setting that nothing reads would be ignored in silence, hence the error above.
        names = (*(fact.name for fact in fields(Problem)), *settings, "config", "problem")
        for name, parameter in parameters.items():
            # `nn.Module.__init__` takes *args and **kwargs, which need nothing.
            is_open = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            if name not in names and parameter.default is parameter.empty and not is_open:
                raise PluginError(
                    f"the parameter {name!r} of {build.__name__} is no setting and no fact of "
                    f"Problem{guess(name, names)}"
                )
        return build


def components(*specs: Spec[Any, Any]) -> Callable[[], Iterable[Spec[Any, Any]]]:
    """The hook `addkit_components` of a module that adds just these components."""
    # pluggy calls a function with its mark, whatever module defined it.
    return hookimpl(lambda: specs)


def imported(path: str) -> Any:
    """The object at an import path such as "my_package.samplers:Churn". Raises `PluginError` if
    there is no such module, or no such name in it.
    """
    module, _, name = path.partition(":")
    try:
        home = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # The module exists and itself imports something that is missing.
        raise PluginError(f'no module "{error.name}", which the path "{path}" names') from None
    if not hasattr(home, name):
        raise PluginError(f'"{path}": {module} has no "{name}"{guess(name, vars(home))}')
    return getattr(home, name)


ABILITIES: Mapping[str, Mapping[str, str]] = {
    "tokenizer": {"no-text": "labels are classes, and no text is cut into tokens"},
    "data": {
        "captions": "its labels are captions",
        "attributes": "its labels are several attributes of an image",
        "tags": "its labels are tags, each of which an image has or has not",
        "soft-evidence": "its evaluation splits have soft evidence on their labels",
    },
    "encoder": {"class-token": "its first token is a class token"},
    "conditioner": {
        "one-token": "its condition is one token, whatever its settings",
        "side-inputs": "it reads inputs other than the image",
    },
    "process": {
        "token-times": "it draws a time for each token",
        "noise-levels": "its tokens have noise levels between clean and pure noise",
        "noisy-state": "every token it predicts is read with Gaussian noise, and y_t is kept",
        "clean-or-noise": "each token that it reads is clean or pure noise",
    },
    "embedding": {"reads-likelihood": "h depends on c_t y_t alone, whatever the noise level"},
    "denoiser": {"reads-state": "it reads the noisy labels", "joint": "its tokens see each other"},
    "loss": {"rises-with-t": "its mean rises with t, as a plain cross-entropy's does"},
    "sampler": {
        "shared-time": "all tokens follow one time",
        "ordered": "tokens settle one after the other",
        "left-to-right": "it can write tokens from left to right, each from the clean ones before",
        "draws": "it draws the clean label itself",
        "evidence-as-state": "it reads soft evidence as noisy labels",
        "evidence-as-bias": "it adds soft evidence to logits before labels are settled",
    },
    "read_out": {"one-pass": "it answers in one pass"},
}
"""Abilities that `Spec.provides` may list, by kind: each is one that some component asks for. The
name of an ability for components of your own begins with `x-`."""


# The second argument names the kind's protocol as a string: `addkit.plugin.contract` reads it from
# there, and no module of components is imported here.
class TokenizerSpec(Spec[C, "Tokenizer | None"]):
    kind = "tokenizer"
    default = "none"


class DataSpec(Spec[C, "DataSource"]):
    kind = "data"


class TaskSpec(Spec[C, "Task"]):
    kind = "task"


class EncoderSpec(Spec[C, "Encoder"]):
    kind = "encoder"


class ConditionerSpec(Spec[C, "Conditioner"]):
    kind = "conditioner"


# A data class of its own, since it adds fields; without their types the two ClassVars would become
# fields too.
@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec(Spec[C, "Process"]):
    kind: ClassVar[str] = "process"
    default: ClassVar[str | None] = "gaussian"

    model_name: str = ""
    """The name of its models in tables, plots and pages, such as "masked diffusion"; the process's
    own name if empty."""
    accepts: frozenset[str] = frozenset({"shared-time", "ordered"})
    """Abilities of samplers; a sampler fits this process if it provides one of them."""
    evidence_sampler: Mapping[str, Any] = field(default_factory=dict)
    """The recipe's table [sampler] that answers under soft evidence are made with, where none is
    asked for by name, such as {"name": "beam", "width": 16}; empty: the process takes in none."""


class EmbeddingSpec(Spec[C, "Embedding"]):
    kind = "embedding"


class DenoiserSpec(Spec[C, "Denoiser"]):
    kind = "denoiser"


class ScheduleSpec(Spec[C, "Schedule"]):
    kind = "schedule"


class TimestepsSpec(Spec[C, "Timesteps | None"]):
    kind = "timesteps"
    default = "power"


class LossSpec(Spec[C, "Loss"]):
    kind = "loss"


class ToOneSpec(Spec[C, "ToOne"]):
    kind = "to_one"


class SamplerSpec(Spec[C, "Sampler"]):
    kind = "sampler"


class ReadOutSpec(Spec[C, "ReadOut"]):
    kind = "read_out"


class TrackerSpec(Spec[C, "Tracker | None"]):
    kind = "tracker"
    default = "none"


KINDS: tuple[type[Spec[Any, Any]], ...] = (
    *(TaskSpec, TokenizerSpec, DataSpec, EncoderSpec, ConditionerSpec, ProcessSpec),
    *(EmbeddingSpec, DenoiserSpec, ScheduleSpec, TimestepsSpec, LossSpec, ToOneSpec),
    *(SamplerSpec, ReadOutSpec, TrackerSpec),
)
"""Every kind, in the order in which data flows."""
