"""Checks: `nox -s tests`, `plugins`, `lint` and `types` by plain `nox`; others by name.

All run in the environment that nox itself runs in: torch is large, and one copy is enough.
"""

from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests", "plugins"]
PYPROJECT = nox.project.load_toml("pyproject.toml")
PLUGINS = sorted(str(path.parent) for path in Path("plugins").glob("*/pyproject.toml"))


def _install(session: nox.Session, group: str) -> None:
    """This tree, editable, and the group's packages, beside what is installed already."""
    wanted = nox.project.dependency_groups(PYPROJECT, group)
    session.run("python", "-m", "pip", "install", "--quiet", "-e", ".", *wanted)


@nox.session
def tests(session: nox.Session) -> None:
    """The whole suite, on all cores; arguments go to pytest."""
    _install(session, "test")
    spread = ("-n", "auto", "--dist", "loadfile")
    # A process for each core: their threads would be in each other's way.
    alone = {"OMP_NUM_THREADS": "1"}
    session.run("python", "-m", "pytest", *spread, *session.posargs, env=alone)


@nox.session
def plugins(session: nox.Session) -> None:
    """The example packages: each is installed, tested, and taken away again."""
    _install(session, "test")
    pip = ("python", "-m", "pip")
    for folder in PLUGINS:
        session.run(*pip, "install", "--quiet", "--no-deps", "-e", folder)
        try:
            session.run("python", "-m", "pytest", "-c", f"{folder}/pyproject.toml", folder)
        finally:
            session.run(*pip, "uninstall", "--quiet", "--yes", Path(folder).name)


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
    names = [f"addkit_{Path(folder).name.removeprefix('addkit-')}" for folder in PLUGINS]
    session.run("python", "-m", "mypy", *(word for name in names for word in ("-p", name)))


@nox.session
def docs(session: nox.Session) -> None:
    """The site, in build/site; warnings, dead links and files of other hosts are errors."""
    _install(session, "docs")
    # From the beginning: a page that is read from the cache gives its warnings no more.
    strict = ("--fresh-env", "--fail-on-warning", "--keep-going", "--quiet")
    session.run("python", "-m", "sphinx", *strict, "-c", "docs/site", ".", "build/site")
    session.run("python", "docs/site/check_links.py", "build/site")


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks; arguments name some of them."""
    _install(session, "test")
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Small faults in a copy of the code, which the tests near each must catch."""
    _install(session, "test")
    session.run("python", "benchmarks/mutants.py", *session.posargs)
