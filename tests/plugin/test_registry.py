from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from addkit.errors import PluginError
from addkit.plugin import (
    Config,
    LossSpec,
    Problem,
    Registry,
    ScheduleSpec,
    Spec,
    UnknownComponent,
    hookimpl,
)
from addkit.plugin.guess import guess
from addkit.plugin.registry import Broken


def never(config: Any, problem: Problem) -> Any:
    raise AssertionError("nothing is built here")


def schedule(name: Any = "cosine", config: Any = Config) -> ScheduleSpec[Any]:
    return ScheduleSpec(name=name, config=config, build=never, summary="")


def loss(name: str) -> LossSpec[Any]:
    return LossSpec(name=name, config=Config, build=never, summary="")


def plugin(*specs: object) -> SimpleNamespace:
    @hookimpl
    def addkit_components() -> Iterable[Any]:
        return specs

    return SimpleNamespace(addkit_components=addkit_components)


Install = Callable[[str, str, str], EntryPoint]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a distribution with one module and one entry point where Python finds it."""

    def install_one(name: str, module: str, code: str) -> EntryPoint:
        info = tmp_path / f"{name.replace('-', '_')}-0.3.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3\n")
        (info / "entry_points.txt").write_text(f"[addkit]\nmine = {module}\n")
        (tmp_path / f"{module}.py").write_text(code)
        (found,) = distributions(name=name, path=[str(tmp_path)])
        return next(iter(found.entry_points))

    monkeypatch.syspath_prepend(tmp_path)
    modules = set(sys.modules)
    yield install_one
    for name in set(sys.modules) - modules:
        del sys.modules[name]


GOOD = """
from addkit.plugin import Config, ScheduleSpec, hookimpl
@hookimpl
def addkit_components():
    yield ScheduleSpec(name="square", config=Config, build=lambda c, p: None, summary="")
"""


def broken_text(entry_point: EntryPoint) -> str:
    """What is said of a plugin that must not disturb a sound one."""
    registry = Registry.of([("addkit 0.1.0", plugin(schedule()))], [entry_point])
    assert registry.names("schedule") == ("cosine",)
    (broken,) = registry.broken
    return str(broken)


def test_get_tells_spec_and_provider() -> None:
    spec = schedule()
    provided = Registry.of([("addkit 0.1.0", plugin(spec))]).get("schedule", "cosine")
    assert provided.spec is spec
    assert provided.provider == "addkit 0.1.0"


def test_names_are_sorted_and_of_one_kind() -> None:
    registry = Registry.of(
        [("a 1", plugin(schedule("b"), loss("z"))), ("b 1", plugin(schedule("a")))]
    )
    assert registry.names("schedule") == ("a", "b")
    assert registry.names("sampler") == ()


def test_one_name_may_serve_two_kinds() -> None:
    registry = Registry.of([("a 1", plugin(schedule("linear"), loss("linear")))])
    assert set(registry.components) == {("schedule", "linear"), ("loss", "linear")}


def test_third_party_comes_with_its_distribution(install: Install) -> None:
    registry = Registry.of([], [install("my-schedules", "square_plugin", GOOD)])
    assert registry.get("schedule", "square").provider == "my-schedules 0.3"
    assert registry.broken == ()


def test_unknown_component() -> None:
    registry = Registry.of([("a 1", plugin(loss("mse"), loss("weighted-ce"), loss("ce")))])
    with pytest.raises(UnknownComponent) as caught:
        registry.get("loss", "wieghted-ce")
    assert str(caught.value) == (
        'no loss is called "wieghted-ce" (did you mean "weighted-ce"?). '
        "Known: ce, mse, weighted-ce."
    )
    assert caught.value.known == ("ce", "mse", "weighted-ce")


def test_unknown_component_of_an_empty_kind() -> None:
    with pytest.raises(UnknownComponent) as caught:
        Registry.of([]).get("loss", "ce")
    assert str(caught.value) == 'no loss is called "ce". Known: none.'


def test_unknown_component_hints_at_broken_plugins(install: Install) -> None:
    registry = Registry.of([], [install("my-schedules", "no_import", "import nowhere_at_all")])
    with pytest.raises(UnknownComponent) as caught:
        registry.get("schedule", "square")
    assert str(caught.value) == (
        'no schedule is called "square". Known: none. '
        'Broken plugin: my-schedules 0.3 (entry point "mine"): '
        "ModuleNotFoundError: No module named 'nowhere_at_all'."
    )


def test_clash() -> None:
    with pytest.raises(PluginError) as caught:
        Registry.of([("addkit 0.1.0", plugin(schedule())), ("other 2", plugin(schedule()))])
    assert str(caught.value) == 'schedule "cosine" is provided by addkit 0.1.0 and other 2'


def test_clash_with_a_third_party(install: Install) -> None:
    entry_point = install("my-schedules", "square_plugin", GOOD)
    with pytest.raises(PluginError) as caught:
        Registry.of([("addkit 0.1.0", plugin(schedule("square")))], [entry_point])
    assert str(caught.value) == (
        'schedule "square" is provided by addkit 0.1.0 and my-schedules 0.3'
    )


def test_broken_import_is_remembered(install: Install) -> None:
    entry_point = install("my-schedules", "bad", "raise RuntimeError('no luck')")
    assert broken_text(entry_point) == (
        'my-schedules 0.3 (entry point "mine"): RuntimeError: no luck'
    )


def test_broken_says_where_from(install: Install) -> None:
    entry_point = install("my-schedules", "bad", "raise RuntimeError('no luck')")
    (broken,) = Registry.of([], [entry_point]).broken
    assert isinstance(broken, Broken)
    assert (broken.distribution, broken.version, broken.entry_point) == (
        "my-schedules",
        "0.3",
        "mine",
    )
    assert isinstance(broken.error, RuntimeError)


def test_a_hook_that_fails_half_way_gives_nothing(install: Install) -> None:
    code = GOOD + "    raise RuntimeError('half')\n"
    assert broken_text(install("half", "half_plugin", code)) == (
        'half 0.3 (entry point "mine"): RuntimeError: half'
    )


def test_a_bad_name_breaks_the_plugin(install: Install) -> None:
    code = GOOD.replace('"square"', '"Square_1"')
    assert broken_text(install("bad-name", "bad_name_plugin", code)) == (
        'bad-name 0.3 (entry point "mine"): '
        "PluginError: schedule 'Square_1': names are lower case, digits and hyphens"
    )


def test_misspelled_hook(install: Install) -> None:
    code = GOOD.replace("def addkit_components", "def addkit_component")
    text = broken_text(install("typo", "typo_plugin", code))
    assert text.startswith(
        'typo 0.3 (entry point "mine"): PluginValidationError: '
        "unknown hook 'addkit_component' in plugin <module 'typo_plugin'"
    )


def test_wrong_hook_signature(install: Install) -> None:
    code = GOOD.replace("def addkit_components()", "def addkit_components(registry)")
    text = broken_text(install("extra", "extra_plugin", code))
    assert text.startswith('extra 0.3 (entry point "mine"): PluginValidationError: ')


def test_missing_decorator(install: Install) -> None:
    code = GOOD.replace("@hookimpl", "")
    assert broken_text(install("bare", "bare_plugin", code)) == (
        'bare 0.3 (entry point "mine"): PluginError: '
        "it has no hook; is @hookimpl missing from addkit_components?"
    )


def test_entry_point_that_is_none(install: Install) -> None:
    entry_point = install("void", "void_plugin:nothing", "")
    Path(sys.path[0], "void_plugin.py").write_text("nothing = None")
    assert broken_text(entry_point) == (
        'void 0.3 (entry point "mine"): PluginError: '
        "it is None, not a module or an object with hooks"
    )


def test_one_module_under_two_entry_points(install: Install) -> None:
    entry_points = [install("one", "same_plugin", GOOD), install("two", "same_plugin", GOOD)]
    registry = Registry.of([], entry_points)
    assert registry.get("schedule", "square").provider == "one 0.3"
    assert [str(broken) for broken in registry.broken] == [
        'two 0.3 (entry point "mine"): PluginError: the same module or object is registered already'
    ]


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (3, "addkit_components must yield Specs, not 3"),
        (schedule("Cosine"), "schedule 'Cosine': names are lower case, digits and hyphens"),
        (schedule("co sine"), "schedule 'co sine': names are lower case, digits and hyphens"),
        (schedule("cosine\n"), "schedule 'cosine\\n': names are lower case, digits and hyphens"),
        (schedule("2cosine"), "schedule '2cosine': names are lower case, digits and hyphens"),
        (schedule(None), "schedule None: names are lower case, digits and hyphens"),
        (schedule(config=dict), 'schedule "cosine": its config must be a subclass of Config'),
    ],
)
def test_a_plugin_that_has_to_work_may_not_be_broken(spec: object, text: str) -> None:
    with pytest.raises(PluginError) as caught:
        Registry.of([("addkit 0.1.0", plugin(spec))])
    assert str(caught.value) == f"addkit 0.1.0: {text}"


def test_a_spec_needs_a_kind() -> None:
    spec = Spec(name="x", config=Config, build=never, summary="")
    with pytest.raises(PluginError) as caught:
        Registry.of([("addkit 0.1.0", plugin(spec))])
    assert str(caught.value) == (
        "addkit 0.1.0: Spec is of no known kind; yield one of the Spec classes in addkit.plugin"
    )


def test_misspelled_hook_of_a_plugin_that_has_to_work() -> None:
    @hookimpl
    def addkit_component() -> Iterable[Any]:
        return ()

    with pytest.raises(PluginError, match=r"addkit 0\.1\.0: unknown hook 'addkit_component'"):
        Registry.of([("addkit 0.1.0", SimpleNamespace(addkit_component=addkit_component))])


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("ofset", ' (did you mean "offset"?)'),
        ("OFFSET", ' (did you mean "offset"?)'),
        ("CE", ' (did you mean "ce"?)'),
        ("zebra", ""),
        ("", ""),
    ],
)
def test_guess(word: str, text: str) -> None:
    assert guess(word, ["offset", "name", "ce"]) == text


def test_importing_the_registry_is_light() -> None:
    code = "import sys, addkit.plugin; print({'torch', 'timm', 'torchvision'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
