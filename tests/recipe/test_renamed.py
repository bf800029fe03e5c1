"""Old names of kinds, components, keys, options and public names get an error with the new one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit import renamed
from addkit.plugin import KINDS, Config, Problem, Registry, hookimpl, load_registry
from addkit.plugin.registry import UnknownComponent
from addkit.plugin.spec import ABILITIES, ProcessSpec
from addkit.recipe import read_recipe
from addkit.recipe.errors import FaultyRecipeError

Cli = Callable[..., Any]


def _guesses(path: Path, changes: list[str]) -> list[tuple[str, str | None]]:
    with pytest.raises(FaultyRecipeError) as caught:
        read_recipe(path, changes)
    return [(fault.key, fault.guess) for fault in caught.value.faults]


@pytest.mark.parametrize(("kind", "old"), renamed.COMPONENTS)
def test_components(kind: str, old: str) -> None:
    new = renamed.COMPONENTS[kind, old]
    assert new in load_registry().names(kind)
    with pytest.raises(UnknownComponent, match=f'renamed to "{new}"'):
        load_registry().get(kind, old)
    assert _guesses(Path("digits"), [f"{kind}.name={old}"]) == [(f"{kind}.name", new)]


@pytest.mark.parametrize("old", renamed.KINDS)
def test_tables(tmp_path: Path, old: str) -> None:
    new = renamed.KINDS[old]
    assert new in {kind.kind for kind in KINDS}
    file = tmp_path / "old.toml"
    file.write_text(f'extends = "digits"\n[{old}]\nname = "warped"\n')
    assert _guesses(file, []) == [(old, new)]
    assert _guesses(Path("digits"), [f"{old}.name=warped"]) == [(old, new)]


@pytest.mark.parametrize("old", renamed.KEYS)
def test_keys(old: str) -> None:
    assert _guesses(Path("digits"), [f"{old}=1"]) == [(old, renamed.KEYS[old])]
    read_recipe(Path("digits"), [f"{renamed.KEYS[old]}=1"])


def test_options_and_kinds_of_the_command_line(addkit: Cli) -> None:
    for old, new in renamed.OPTIONS.items():
        said = addkit("sample", f"{old}=age=3", "x.png")
        assert (said.code, said.out) == (2, "")
        assert f'{old} (renamed to "{new}")' in said.err
    said = addkit("plugins", "list", "--kind", "times")
    assert said.code == 2
    assert 'renamed to "timesteps"' in said.err


def test_commands_that_moved_out(addkit: Cli) -> None:
    for command, package in renamed.COMMANDS.items():
        result = addkit("--no-plugins", command, "--json")
        assert (result.code, result.out) == (2, "")
        assert f'"{command}" is added by the package "{package}"' in result.err
        assert (Path(__file__).parents[2] / "plugins" / package / "pyproject.toml").is_file()


def test_public_names() -> None:
    with pytest.raises(ImportError, match='renamed to "TimestepsSpec"'):
        from addkit.plugin import TimesSpec  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match='renamed to "TimestepsSpec"'):
        from addkit import TimesSpec  # type: ignore[attr-defined]  # noqa: F401


def test_parts_of_a_protocol() -> None:
    class Old:
        def hide(self) -> None: ...

    class Plugin:
        @hookimpl
        def addkit_components(self) -> list[ProcessSpec[Any]]:
            return [ProcessSpec(name="old", config=Config, build=Old, summary="Old.")]

    spec = Registry.of([("old 1", Plugin())]).get("process", "old").spec
    with pytest.raises(Exception, match=r"corrupt \(was hide\)"):
        spec.create(Config(), Problem())


def test_abilities() -> None:
    every = {ability for of_kind in ABILITIES.values() for ability in of_kind}
    assert set(renamed.ABILITIES.values()) <= every
