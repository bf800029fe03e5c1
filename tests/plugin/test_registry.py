from __future__ import annotations

import importlib
import subprocess
import sys
import types
from collections.abc import Callable, Iterable
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from addkit.errors import PluginError, RecipeError, guess
from addkit.plugin import (
    API_VERSION,
    KINDS,
    Config,
    LossSpec,
    Problem,
    Registry,
    ScheduleSpec,
    Spec,
    UnknownComponent,
    hookimpl,
    load_registry,
)
from addkit.plugin.contract import lacking, place_of
from addkit.plugin.loading import Broken, Provided
from addkit.plugin.registry import built_ins, identity_of, source_hash

Install = Callable[[str, str, str], EntryPoint]


def never(config: Any, problem: Problem) -> Any:
    raise AssertionError("nothing is built here")


def schedule(name: Any = "cosine", config: Any = Config) -> ScheduleSpec[Any]:
    return ScheduleSpec(name=name, config=config, build=never, summary="")


class Named(Config):
    name: str = "a recipe's own key"


def loss(name: str) -> LossSpec[Any]:
    return LossSpec(name=name, config=Config, build=never, summary="")


def plugin(*specs: object) -> SimpleNamespace:
    @hookimpl
    def addkit_components() -> Iterable[Any]:
        return specs

    return SimpleNamespace(addkit_components=addkit_components)


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
    assert str(caught.value) == (
        'no loss is called "ce". Known: none. Is it a plugin\'s? Install that '
        "(pip install -e FOLDER), or give --plugin-file FILE."
    )


def test_a_guess_is_enough() -> None:
    with pytest.raises(UnknownComponent) as caught:
        Registry.loaded(built_ins()).get("schedule", "cosin")
    assert str(caught.value).endswith("Known: cosine, label-accuracy, linear, sigmoid.")


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
    assert str(caught.value) == (
        'schedule "cosine" is provided by addkit 0.1.0 and other 2; '
        "disable one with --no-plugin other"
    )


def test_clash_with_a_third_party(install: Install) -> None:
    entry_point = install("my-schedules", "square_plugin", GOOD)
    with pytest.raises(PluginError) as caught:
        Registry.of([("addkit 0.1.0", plugin(schedule("square")))], [entry_point])
    assert str(caught.value) == (
        'schedule "square" is provided by addkit 0.1.0 and my-schedules 0.3; '
        "disable one with --no-plugin my-schedules"
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
    assert broken_text(install("typo", "typo_plugin", code)) == (
        'typo 0.3 (entry point "mine"): PluginError: addkit has no hook "addkit_component" '
        '(did you mean "addkit_components"?). Hooks: addkit_components, addkit_commands'
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


def test_a_wrong_return_is_named(install: Install) -> None:
    code = GOOD.replace("yield ScheduleSpec", "return None and ScheduleSpec")
    assert broken_text(install("none", "none_plugin", code)) == (
        'none 0.3 (entry point "mine"): '
        "PluginError: addkit_components must yield Specs, and it returned None"
    )


def test_a_module_that_exits_is_broken(install: Install) -> None:
    assert broken_text(install("quits", "quits_plugin", "import sys; sys.exit('bye')")) == (
        'quits 0.3 (entry point "mine"): SystemExit: bye'
    )


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("7", "it needs plugin API 7, and this addkit has 2; upgrade addkit"),
        ("1", "it needs plugin API 1, and this addkit has 2; change the plugin: "),
        ("'2.0'", "it needs plugin API '2.0', and this addkit has 2; change the plugin: "),
    ],
)
def test_another_api(install: Install, wanted: str, text: str) -> None:
    entry_point = install("other-api", "other_api_plugin", f"ADDKIT_API = {wanted}\n{GOOD}")
    start = f'other-api 0.3 (entry point "mine"): PluginError: {text}'
    assert broken_text(entry_point).startswith(start)


def test_the_same_api(install: Install) -> None:
    entry_point = install("same-api", "same_api_plugin", f"ADDKIT_API = {API_VERSION}\n{GOOD}")
    assert Registry.of([], [entry_point]).names("schedule") == ("square",)


def test_a_component_of_a_broken_plugin_tells_the_cause(install: Install) -> None:
    code = GOOD + "    raise RuntimeError('half')\n"
    registry = Registry.of([], [install("half", "half_plugin", code)])
    with pytest.raises(UnknownComponent) as caught:
        registry.get("schedule", "square")
    assert str(caught.value) == (
        'schedule "square" cannot be used. '
        'Broken plugin: half 0.3 (entry point "mine"): RuntimeError: half.'
    )
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_builder_that_raises_is_its_plugins_fault(install: Install) -> None:
    code = GOOD.replace("lambda c, p: None", "lambda c, p: 1 / 0")
    registry = Registry.of([], [install("raises", "raises_plugin", code)])
    with pytest.raises(PluginError) as caught:
        registry.get("schedule", "square").spec.create(Config(), Problem())
    assert str(caught.value) == (
        'schedule "square" of raises 0.3 cannot be built: ZeroDivisionError: division by zero'
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_builder_may_refuse_a_recipe(install: Install) -> None:
    code = GOOD.replace("lambda c, p: None", "refuse") + (
        "def refuse(config, problem):\n"
        "    from addkit.errors import RecipeError\n"
        "    raise RecipeError('no such thing')\n"
    )
    registry = Registry.of([], [install("refuses", "refuses_plugin", code)])
    with pytest.raises(RecipeError, match=r"^no such thing$"):
        registry.get("schedule", "square").spec.create(Config(), Problem())


def test_what_is_built_must_be_whole(install: Install) -> None:
    registry = Registry.of([], [install("hollow", "hollow_plugin", GOOD)])
    with pytest.raises(PluginError) as caught:
        registry.get("schedule", "square").spec.create(Config(), Problem())
    assert str(caught.value) == (
        'schedule "square" of hollow 0.3: its builder gave None, which lacks '
        "scale, t_power, alpha_bar; addkit/plugin/protocols.py describes each"
    )


@pytest.mark.parametrize("kind", [one.kind for one in KINDS])
def test_every_kind_says_what_a_component_must_have(kind: str) -> None:
    missing = lacking(kind, object())
    assert missing
    assert all(not name.startswith("_") or name == "__call__" for name in missing)
    assert (lacking(kind, None) == ()) == (kind in ("tokenizer", "timesteps", "tracker"))


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
        (schedule(config=Named), 'schedule "cosine": "name" is taken, its config cannot use it'),
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

    with pytest.raises(PluginError, match=r'addkit 0\.1\.0: addkit has no hook "addkit_component"'):
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


def test_the_place_of_an_error_is_the_plugins(tmp_path: Path) -> None:
    file = tmp_path / "theirs.py"
    file.write_text("import json\n\n\ndef read():\n    return json.loads('{')\n")
    names: dict[str, object] = {}
    exec(compile(file.read_text(), file, "exec"), names)
    with pytest.raises(ValueError, match="Expecting") as caught:
        names["read"]()  # type: ignore[operator]
    assert place_of(caught.value) == " (theirs.py:5)"
    assert place_of(ValueError()) == ""


def test_a_namespace_is_not_hashed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner in ("one", "two"):
        folder = tmp_path / "shared_names" / owner
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("shared_names.one")
    spec = load_registry().get("loss", "ce").spec
    identity = identity_of(Provided(spec, "one 1.0", "shared_names.one"))
    assert identity == f"one 1.0 sha256:{source_hash('shared_names.one')}"
    assert identity_of(Provided(spec, "x 1", "addkit.losses.focal")).endswith(source_hash("addkit"))


def test_paths_may_be_relative_to_a_package() -> None:
    plugin = types.ModuleType("addkit.losses")
    plugin.__spec__ = ModuleSpec("addkit.losses", None, is_package=True)

    def components() -> list[Any]:
        return [LossSpec("mine", ".settings:MseConfig", ".mse:Mse", "A squared error.")]

    plugin.addkit_components = hookimpl(components, specname="addkit_components")  # type: ignore[attr-defined]
    spec = Registry.of([("my-plugin 0.1", plugin)]).get("loss", "mine")
    assert spec.own_spec is not None
    assert spec.own_spec.config == "addkit.losses.settings:MseConfig"
    assert spec.own_spec.build == "addkit.losses.mse:Mse"


def test_a_relative_path_needs_a_package() -> None:
    class Plugin:
        @hookimpl
        def addkit_components(self) -> list[Any]:
            return [LossSpec("mine", ".settings:MseConfig", ".mse:Mse", "A squared error.")]

    with pytest.raises(PluginError, match=r'loss "mine".*"\.settings:MseConfig".*no package'):
        Registry.of([("my-plugin 0.1", Plugin())])
