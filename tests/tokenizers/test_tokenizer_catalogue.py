from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from addkit.plugin import Problem, load_registry
from addkit.tokenizers import addkit_components
from addkit.tokenizers.settings import WordsConfig


def test_four_tokenizers_are_offered() -> None:
    specs = list(addkit_components())
    assert [spec.name for spec in specs] == ["none", "words", "open-clip", "tokenizers-file"]
    assert {spec.kind for spec in specs} == {"tokenizer"}


def test_every_key_is_described() -> None:
    registry = load_registry()
    for spec in (registry.get("tokenizer", name).spec for name in registry.names("tokenizer")):
        for key, field in spec.settings.model_fields.items():
            assert field.description, (spec.name, key)


def test_the_page_imports_no_library() -> None:
    code = (
        "import sys; from addkit.tokenizers import addkit_components; list(addkit_components()); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'nltk', 'open_clip')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_none_is_none() -> None:
    none = load_registry().get("tokenizer", "none").spec
    assert none.create(none.settings(), Problem()) is None


@pytest.mark.parametrize("settings", [{"min_count": 0}, {"max_size": 2}, {"words": 1}])
def test_settings_that_cannot_be_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WordsConfig.model_validate(settings)
