"""Files for contributors agree with the package: versions, Pythons, licence, sessions, forms."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

import addkit

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def _read(path: Path) -> Any:
    # YAML 1.1 reads the key `on` as True.
    return yaml.safe_load(path.read_text("utf-8"))


def test_the_citation_is_of_this_version() -> None:
    citation = _read(ROOT / "CITATION.cff")
    assert citation["version"] == addkit.__version__
    assert citation["title"] == PROJECT["name"]
    assert citation["license"] in PROJECT["license"]
    assert set(citation["keywords"]) == set(PROJECT["keywords"])
    assert " ".join(citation["abstract"].split()) == PROJECT["description"]


def test_ci_runs_the_script_on_every_python() -> None:
    job = _read(GITHUB / "workflows" / "ci.yml")["jobs"]["checks"]
    named = re.findall(r"Python :: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.M)
    assert job["strategy"]["matrix"]["python"] == named
    assert any(step.get("run") == "bash .ci/run" for step in job["steps"])


def test_workflows_have_few_rights_and_an_end() -> None:
    for path in (GITHUB / "workflows").glob("*.yml"):
        workflow = _read(path)
        assert workflow["permissions"] == {"contents": "read"}, path
        for name, job in workflow["jobs"].items():
            assert job["timeout-minutes"] <= 90, f"{path}: {name}"
            writes = {
                right for right, kind in job.get("permissions", {}).items() if kind == "write"
            }
            assert writes <= {"id-token", "pages"}, f"{path}: {name}"


def test_forms_ask_for_the_environment() -> None:
    """By GitHub's schema of forms: types, names of their own, labels."""
    for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml"):
        form = _read(path)
        if path.stem == "config":
            continue
        assert form.keys() == {"name", "description", "labels", "body"}, path
        assert len({part["id"] for part in form["body"]}) == len(form["body"])
        for part in form["body"]:
            assert part["type"] in ("textarea", "input"), path
            assert {"label"} <= part["attributes"].keys() <= {"label", "description", "render"}
        asks = any("`addkit env`" in part["attributes"]["label"] for part in form["body"])
        assert asks == (path.stem != "idea"), path


def test_sessions_and_hooks_exist() -> None:
    sessions = set(
        re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text("utf-8"), re.M)
    )
    for file in ("CONTRIBUTING.md", ".ci/run", ".github/workflows/docs.yml"):
        named = re.findall(r"nox -s ([a-z ]+)", (ROOT / file).read_text("utf-8"))
        assert {word for words in named for word in words.split()} <= sessions, file
    for hook in _read(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]:
        files = [word for word in hook["entry"].split() if word.endswith(".py")]
        assert all((ROOT / file).exists() for file in files)
