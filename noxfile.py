"""Checks, all in one environment: `nox -s tests`, `lint`, `types`, `bench`."""

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True
PYPROJECT = nox.project.load_toml("pyproject.toml")


def _install(session: nox.Session, *groups: str) -> None:
    wanted = nox.project.dependency_groups(PYPROJECT, *groups)
    session.install("-e", ".", *wanted)


@nox.session
def tests(session: nox.Session) -> None:
    """The whole suite; arguments go to pytest."""
    _install(session, "test")
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    _install(session, "types")
    session.run("mypy")


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks; arguments name some of them."""
    _install(session, "test")
    session.run("python", "benchmarks/run.py", *session.posargs)
