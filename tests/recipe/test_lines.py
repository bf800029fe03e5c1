from __future__ import annotations

import tomllib
from typing import Any

import pytest

from addkit.recipe.toml import KeyPath, key_lines


def paths(tables: dict[str, Any], above: KeyPath = ()) -> set[KeyPath]:
    found: set[KeyPath] = set()
    for key, value in tables.items():
        found.add((*above, key))
        if isinstance(value, dict):
            found |= paths(value, (*above, key))
    return found


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", {}),
        ("# seed = 3", {}),
        ("seed = 3", {("seed",): 1}),
        ("\r\nseed = 3\r\nname = 'x'", {("seed",): 2, ("name",): 3}),
        ("[loss] # comment\n\nname = 1", {("loss",): 1, ("loss", "name"): 3}),
        ("[ loss ]", {("loss",): 1}),
        ("loss.name = 1.5\nseed = 1", {("loss",): 1, ("loss", "name"): 1, ("seed",): 2}),
        ('"a.b"."c\\u0064" = 1', {("a.b",): 1, ("a.b", "cd"): 1}),
        ("['a b'.c]\nd = 1", {("a b",): 1, ("a b", "c"): 1, ("a b", "c", "d"): 2}),
        ("[a.b]\n[a]\nc = 1", {("a",): 2, ("a", "b"): 1, ("a", "c"): 3}),
        ("a = {}\nb = 1", {("a",): 1, ("b",): 2}),
        (
            "a = {b = 1, c.d = [1, {x = 2}], e = {f = 1}}\ng = 1",
            {
                ("a",): 1,
                ("a", "b"): 1,
                ("a", "c"): 1,
                ("a", "c", "d"): 1,
                ("a", "e"): 1,
                ("a", "e", "f"): 1,
                ("g",): 2,
            },
        ),
        ("a = [\n 1, # ]\n '[', {x = [1]},\n]\nb = 2", {("a",): 1, ("b",): 5}),
        ('a = """\n[no]\nb = 1\\"""\n"""\nc = 1', {("a",): 1, ("c",): 5}),
        ("a = '''\n[no]\n'' '''\nc = 1", {("a",): 1, ("c",): 4}),
        ('a = """"x""""\nb = ""\nc = 1', {("a",): 1, ("b",): 2, ("c",): 3}),
        ("a = 'x\\'\nb = '=[#'\nc = 1", {("a",): 1, ("b",): 2, ("c",): 3}),
        ('a = "\\"[" # "\nb = 1', {("a",): 1, ("b",): 2}),
        ("[[a]]\nb = 1\n[[a]]\nb = 2", {("a",): 3, ("a", "b"): 2}),
        ("d = 1979-05-27T07:32:00.5-07:00\ne = +1_0.5e-3", {("d",): 1, ("e",): 2}),
    ],
)
def test_lines(text: str, lines: dict[KeyPath, int]) -> None:
    assert key_lines(text) == lines
    assert paths(tomllib.loads(text)) <= set(lines)
