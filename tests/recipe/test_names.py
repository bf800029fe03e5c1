"""Names of recipes are names: they begin the name of a run's folder, and lead to no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from addkit.cli.run_arguments import find_folder, run_named
from addkit.errors import RecipeError, RunError
from addkit.recipe.reading import LONGEST, name_of_runs

Fails = Callable[..., str]

BAD = [
    *("../../../x", "a/b", "/tmp/x", "..", ".", "", "a\\b", "C:x", "a\x00b", "a\nb", "a\x1b[2Jb"),
    *("\x7f", "a\u202eb", "a\u2028b", ".hidden", "-rf", " a", "a ", "a.", "con", "NUL.x", "lpt1"),
    *("a*", "a?", 'a"b', "<a>", "a|b", "x" * (LONGEST + 1), "é" * (LONGEST // 2 + 1)),
]


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_names_that_are_refused(fails: Fails, name: str) -> None:
    quoted = "".join(f"\\u{ord(sign):04x}" for sign in name)
    assert fails(f'name = "{quoted}"\n').startswith("x.toml:2: name: a name ")
    assert "name: a name " in fails("", f'name="{quoted}"')


@pytest.mark.parametrize("name", ["a", "digits", "My recipe (2)", "é", "数字", "a.b-c", "nullify"])
def test_names_that_are_taken(read: Callable[..., object], name: str) -> None:
    assert read(f'name = "{name}"\n').name == name  # type: ignore[attr-defined]
    assert name_of_runs(name) == name


@pytest.mark.parametrize("stem", ["a\x1b[2Jb", "con", "-x", "a:b"])
def test_a_file_whose_name_is_no_name_of_runs(folder: Path, registry: object, stem: str) -> None:
    from addkit.recipe import read_recipe

    from .conftest import EXTENDS

    file = Path(f"{stem}.toml")
    file.write_text(EXTENDS)
    with pytest.raises(RecipeError, match=r"a name .*; add a line name = "):
        read_recipe(file, (), registry)  # type: ignore[arg-type]
    file.write_text(EXTENDS + "name = 'x'\n")
    assert read_recipe(file, (), registry).name == "x"  # type: ignore[arg-type]


def test_a_bare_name_leads_to_no_folder_outside_of_runs(folder: Path) -> None:
    outside = folder / "outside"
    for path in (folder / "runs" / "one", outside):
        path.mkdir(parents=True)
        (path / "recipe.toml").touch()
    assert find_folder("one") == Path("runs/one")
    assert run_named(Path("one")) == Path("runs/one")
    assert run_named(Path("one/../../outside")) is None
    with pytest.raises(RunError, match="no such run folder"):
        find_folder("one/../../outside")
