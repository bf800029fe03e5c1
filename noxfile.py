"""Checks: `nox -s tests`, `lint`, `types`, `bench`; plain `nox` runs the first three.

All run in the environment that nox itself runs in: torch is large, and one copy is enough.
"""

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]
PYPROJECT = nox.project.load_toml("pyproject.toml")


def _install(session: nox.Session, group: str) -> None:
    """This tree, editable, and the group's packages, beside what is installed already."""
    wanted = nox.project.dependency_groups(PYPROJECT, group)
    session.run("python", "-m", "pip", "install", "--quiet", "-e", ".", *wanted)


@nox.session
def tests(session: nox.Session) -> None:
    """The whole suite; arguments go to pytest."""
    _install(session, "test")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff."""
    _install(session, "lint")
    session.run("python", "-m", "ruff", "check", ".")
    session.run("python", "-m", "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    _install(session, "types")
    session.run("python", "-m", "mypy")


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks; arguments name some of them."""
    _install(session, "test")
    session.run("python", "benchmarks/run.py", *session.posargs)
