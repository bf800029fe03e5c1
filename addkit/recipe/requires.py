"""`requires = ["addkit-clip>=0.3"]`: the packages that a recipe needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from addkit.recipe.errors import Fault, FaultyRecipeError, Origin
from addkit.recipe.toml import quoted, shortened

if TYPE_CHECKING:
    from packaging.requirements import Requirement


ALLOWED = 'a list of requirements such as ["addkit-clip>=0.3"]'

LOCAL = " (for a package in a folder: pip install -e FOLDER)"


def check_requires(requires: Any, origin: Origin) -> None:
    """Check that every package is installed, new enough and not left out.

    Raises:
        RecipeError: it is no list of requirements, or names what is missing and how to get it.
    """
    # Few recipes require a package, and `packaging` would slow the others down.
    from packaging.requirements import InvalidRequirement, Requirement

    if not (isinstance(requires, list) and all(isinstance(text, str) for text in requires)):
        raise _refused(requires, origin)
    missing = []
    for text in requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            raise _refused(text, origin) from None
        if reason := _missing(requirement):
            missing.append((text, reason))
    if not missing:
        return
    # One error with one command for all packages; a package that is left out is installed already.
    packages = ", ".join(f"{text} ({reason})" for text, reason in missing)
    install = " ".join(quoted(text) for text, reason in missing if "left out" not in reason)
    remedy = f" Install them with: pip install {install}{LOCAL}" if install else ""
    text = f"missing required plugins: {packages}.{remedy}"
    raise FaultyRecipeError([Fault(origin, text, "requires", shortened(requires))])


def _refused(found: Any, origin: Origin) -> FaultyRecipeError:
    text = f"requires must be {ALLOWED}, found {shortened(found)}."
    return FaultyRecipeError([Fault(origin, text, "requires", shortened(found), ALLOWED)])


def _missing(requirement: Requirement) -> str:
    """Why a package does not satisfy a requirement; empty if it does."""
    from importlib.metadata import PackageNotFoundError, version

    from addkit.plugin.selection import Selection, canonical
    from addkit.version import __version__

    try:
        # addkit itself may run from a checkout that is not installed.
        found = __version__ if requirement.name == "addkit" else version(requirement.name)
    except PackageNotFoundError:
        return "not installed"
    # A development version (0.3.dev1) satisfies >=0.2: who works on a package has just that.
    if not requirement.specifier.contains(found, prereleases=True):
        return f"{found} is installed"
    is_own = canonical(requirement.name) == "addkit"
    if not (is_own or Selection.from_environment().admits(requirement.name)):
        return "left out by --no-plugins, --no-plugin or ADDKIT_PLUGINS"
    return ""
