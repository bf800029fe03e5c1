from __future__ import annotations

import pytest

from addkit.cli.plugin_commands import plugins_first


@pytest.mark.parametrize(
    ("words", "ordered"),
    [
        ("train x.toml", "train x.toml"),
        ("train x.toml --no-plugins", "--no-plugins train x.toml"),
        ("train --no-plugin a x.toml", "--no-plugin a train x.toml"),
        ("train --no-plugin=a x.toml --no-plugin b", "--no-plugin=a --no-plugin b train x.toml"),
        ("--plugin-file a.py train", "--plugin-file a.py train"),
        ("sample -- --no-plugins", "sample -- --no-plugins"),
        ("train --plugin-file", "--plugin-file train"),
    ],
)
def test_they_stand_anywhere(words: str, ordered: str) -> None:
    assert plugins_first(words.split()) == ordered.split()
