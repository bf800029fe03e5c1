from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from addkit import __version__
from addkit.errors import RecipeError
from addkit.plugin import Broken, Registry
from addkit.plugin.selection import WITHOUT
from addkit.recipe import dump_recipe, read_recipe, recipe_from_tables


@pytest.fixture
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The distribution addkit-clip 0.3."""
    site = tmp_path_factory.mktemp("site")
    info = site / "addkit_clip-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: addkit-clip\nVersion: 0.3\n")
    monkeypatch.syspath_prepend(site)


def write(folder: Path, text: str) -> Path:
    path = folder / "x.toml"
    path.write_text(f'extends = "base.toml"\n{text}\n', "utf-8")
    return path


@pytest.mark.parametrize(
    "wanted",
    ["addkit-clip", "Addkit_Clip>=0.3", "addkit-clip>=0.2,<1", f"addkit=={__version__}"],
)
def test_what_is_installed_will_do(
    installed: None, folder: Path, registry: Registry, wanted: str
) -> None:
    recipe = read_recipe(write(folder, f'requires = ["{wanted}"]'), registry=registry)
    assert recipe.requires == (wanted,)
    again = recipe_from_tables(tomllib.loads(dump_recipe(recipe)), Path("run"), registry)
    assert again.requires == (wanted,)


def test_nothing_is_required_by_default(folder: Path, registry: Registry) -> None:
    recipe = read_recipe(write(folder, ""), registry=registry)
    assert recipe.requires == ()
    assert "requires" not in recipe.tables()


@pytest.mark.parametrize(
    ("requires", "error"),
    [
        (
            '["addkit-clip>=0.4", "addkit-other"]',
            "missing required plugins: addkit-clip>=0.4 (0.3 is installed), addkit-other "
            '(not installed). Install them with: pip install "addkit-clip>=0.4" "addkit-other" '
            "(for a package in a folder: pip install -e FOLDER)",
        ),
        (
            '"addkit-clip"',
            'requires must be a list of requirements such as ["addkit-clip>=0.3"], found '
            '"addkit-clip".',
        ),
        (
            '["addkit clip"]',
            'requires must be a list of requirements such as ["addkit-clip>=0.3"], found '
            '"addkit clip".',
        ),
    ],
)
def test_what_is_missing_is_named_first(
    installed: None, folder: Path, registry: Registry, requires: str, error: str
) -> None:
    path = write(folder, f'requires = {requires}\n[loss]\nname = "of-that-plugin"')
    with pytest.raises(RecipeError) as caught:
        read_recipe(path, registry=registry)
    assert str(caught.value) == f"x.toml:2: {error}"


def test_what_is_left_out_is_missing(
    installed: None, folder: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WITHOUT, "addkit-clip")
    with pytest.raises(RecipeError) as caught:
        read_recipe(write(folder, 'requires = ["addkit-clip"]'), registry=registry)
    assert str(caught.value) == (
        "x.toml:2: missing required plugins: addkit-clip "
        "(left out by --no-plugins, --no-plugin or ADDKIT_PLUGINS)."
    )


def test_what_a_base_requires_is_required(
    installed: None, folder: Path, registry: Registry
) -> None:
    write(folder, 'requires = ["addkit-clip"]')
    top = folder / "y.toml"
    top.write_text('extends = "x.toml"\nrequires = ["addkit"]\n')
    assert read_recipe(top, registry=registry).requires == ("addkit-clip", "addkit")
    write(folder, 'requires = ["addkit-other"]')
    with pytest.raises(RecipeError, match=r"^x\.toml:2: missing required plugins: addkit-other"):
        read_recipe(top, registry=registry)


def test_a_run_that_lacks_its_plugin(folder: Path, registry: Registry) -> None:
    tables = read_recipe(write(folder, ""), registry=registry).tables()
    with pytest.raises(RecipeError, match=r"^run: missing required plugins: addkit-other"):
        recipe_from_tables({**tables, "requires": ["addkit-other"]}, Path("run"), registry)


def test_an_override_is_checked_too(folder: Path, registry: Registry) -> None:
    with pytest.raises(RecipeError, match="missing required plugins: addkit-other"):
        read_recipe(write(folder, ""), ['requires=["addkit-other"]'], registry)


def test_a_bare_name_extends_a_recipe_that_comes_with_addkit(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('extends = "digits"\n')
    assert read_recipe(path).choices["data"].name == "digits"


def test_a_component_of_a_broken_plugin_has_its_cause(folder: Path, registry: Registry) -> None:
    broken = Broken("my-losses", "0.3", "mine", ValueError("no luck"), frozenset({("loss", "x")}))
    path = write(folder, '[loss]\nname = "x"')
    with pytest.raises(RecipeError) as caught:
        read_recipe(path, registry=replace(registry, broken=(broken,)))
    assert str(caught.value) == (
        'x.toml:3: [loss] loss "x" cannot be used. Broken plugin: my-losses 0.3 '
        '(entry point "mine"): ValueError: no luck.'
    )
    assert caught.value.__cause__ is broken.error
