"""`requires = ["addkit-clip>=0.3"]`: packages without which a recipe means nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from addkit.recipe.errors import Fault, FaultyRecipeError, Origin
from addkit.recipe.toml import quoted, shortened

if TYPE_CHECKING:
    from packaging.requirements import Requirement


ALLOWED = 'a list of requirements such as ["addkit-clip>=0.3"]'

LOCAL = " (what lies in a folder: pip install -e FOLDER)"


def check_requires(requires: Any, origin: Origin) -> None:
    """Nothing if every package is installed, new enough and not left out.

    Raises:
        RecipeError: it is no list of requirements, or names what is missing and how to get it.
    """
    wanted = [(one, _parsed(one, origin)) for one in _texts(requires, origin)]
    missing = [(text, why) for text, one in wanted if (why := _missing(one))]
    if not missing:
        return
    told = ", ".join(f"{text} ({why})" for text, why in missing)
    install = " ".join(quoted(text) for text, why in missing if "left out" not in why)
    remedy = f" Install them with: pip install {install}{LOCAL}" if install else ""
    text = f"missing required plugins: {told}.{remedy}"
    raise FaultyRecipeError([Fault(origin, text, "requires", shortened(requires))])


def _texts(requires: Any, origin: Origin) -> list[str]:
    if isinstance(requires, list) and all(isinstance(one, str) for one in requires):
        return requires
    raise _refused(requires, origin)


def _parsed(text: str, origin: Origin) -> Requirement:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(text)
    except InvalidRequirement:
        raise _refused(text, origin) from None


def _refused(found: Any, origin: Origin) -> FaultyRecipeError:
    text = f"requires must be {ALLOWED}, found {shortened(found)}."
    return FaultyRecipeError([Fault(origin, text, "requires", shortened(found), ALLOWED)])


def _missing(requirement: Requirement) -> str:
    """Why a package will not do; empty if it will."""
    from addkit.plugin.selection import Selection, canonical

    version = _version(requirement.name)
    if version is None:
        return "not installed"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"{version} is installed"
    is_own = canonical(requirement.name) == "addkit"
    if not (is_own or Selection.from_environment().admits(requirement.name)):
        return "left out by --no-plugins, --no-plugin or ADDKIT_PLUGINS"
    return ""


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    from addkit.version import __version__

    if name == "addkit":
        return __version__
    try:
        return version(name)
    except PackageNotFoundError:
        return None
