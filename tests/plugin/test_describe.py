from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from addkit.errors import UsageError
from addkit.plugin import Config, Provided, ScheduleSpec, load_registry
from addkit.plugin.describe import Setting, about, check_kind, described, paste, settings_of


class Inner(Config):
    depth: int = 2


class Mine(Config):
    """What it computes.

    After Somebody 2020, equation 3.
    """

    root: Path
    steps: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(20, description="Of a chain.")
    share: float = Field(0.5, gt=0, le=1)
    widths: tuple[int, ...] = Field((8, 16), min_length=1)
    pair: tuple[float, float] = (0.9, 0.95)
    flag: bool = True
    word: str | None = None
    file: Path = Path("a/b")
    inner: Inner = Inner()


class Silent(Config):
    pass


def provided(config: type[Config]) -> Provided:
    spec: Any = ScheduleSpec(
        name="mine", config=config, build=lambda config, problem: None, summary="Mine."
    )
    return Provided(spec, "my-plugin 0.3")


@pytest.mark.parametrize(
    ("name", "type_", "default", "bounds"),
    [
        ("root", "path", None, ""),
        ("steps", 'whole number (at least 1) or "auto"', "20", ""),
        ("share", "number", "0.5", "above 0, at most 1"),
        ("widths", "list of: whole number", "[8, 16]", "1 or more items"),
        ("pair", "list of 2: number", "[0.9, 0.95]", ""),
        ("flag", "true or false", "true", ""),
        ("word", "string", None, ""),
        ("file", "path", '"a/b"', ""),
        ("inner", "Inner", "{depth = 2}", ""),
    ],
)
def test_a_setting(name: str, type_: str, default: str | None, bounds: str) -> None:
    (found,) = (one for one in settings_of(Mine) if one.name == name)
    meaning = "Of a chain." if name == "steps" else ""
    assert found == Setting(name, type_, name == "root", default, bounds, meaning)


def test_the_table_leaves_open_what_must_be_given() -> None:
    table = paste(provided(Mine))
    assert "root =  # path, must be given\n" in table
    assert "# word =  # string\n" in table
    whole = tomllib.loads(table.replace("root = ", 'root = "x"'))["schedule"]
    assert whole.pop("name") == "mine"
    assert Mine.model_validate(whole) == Mine(root=Path("x"))


def test_about_is_the_configs_own() -> None:
    assert about(Mine) == "What it computes.\n\nAfter Somebody 2020, equation 3."
    assert about(Silent) == ""


def test_every_component_can_be_described() -> None:
    for one in load_registry().components.values():
        told = described(one)
        assert told["settings"] or not one.spec.settings.model_fields
        tomllib.loads("\n".join(x for x in told["table"].splitlines() if "must be given" not in x))


def test_kinds() -> None:
    check_kind("to_one")
    with pytest.raises(
        UsageError, match=r'no kind is called "read-outs" \(did you mean "read_out"'
    ):
        check_kind("read-outs")
