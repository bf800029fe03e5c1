"""`addkit plugins`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from addkit.cli.completion import complete_any_component, complete_kind
from addkit.cli.options import JsonOption
from addkit.cli.plugin_options import choose

if TYPE_CHECKING:
    from addkit.cli.output import Output
    from addkit.plugin import Provided, Registry
    from addkit.plugin.commands import Commands
    from addkit.testing import Verdict


plugins = typer.Typer(
    help="Look at, check and write plugins.", rich_markup_mode=None, no_args_is_help=True
)

COMMAND = "command"
"""Taken by `--kind` like a kind of component."""


@plugins.callback()
def root() -> None:
    """Look at, check and write plugins."""


@plugins.command("list")
def list_(
    kind: Annotated[
        str | None,
        typer.Option(help="Of this kind alone, such as loss.", autocompletion=complete_kind),
    ] = None,
    requirements: Annotated[
        bool, typer.Option("--requirements", help="Lines for a requirements.txt instead.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """List components, commands of plugins, and plugins that are broken or disabled.

    addkit plugins list --kind loss
    """
    from addkit.cli.output import Output
    from addkit.plugin import load_registry
    from addkit.plugin.commands import load_commands

    _check_kind(kind)
    registry, commands, output = load_registry(), load_commands(), Output(json=json)
    if requirements:
        _show_requirements(output, registry, commands)
        return
    _show_or_print(output, _rows(registry, commands, kind))


@plugins.command()
def show(
    kind: Annotated[str, typer.Argument(help="Such as schedule.", autocompletion=complete_kind)],
    name: Annotated[
        str, typer.Argument(help="Such as cosine.", autocompletion=complete_any_component)
    ],
    json: JsonOption = False,
) -> None:
    """Show a component: what it does, its settings, who provides it, and a table to paste.

    addkit plugins show schedule cosine
    """
    from addkit.cli.output import Output
    from addkit.plugin import load_registry
    from addkit.plugin.describe import described

    _check_kind(kind)
    if kind == COMMAND:
        _show_command(Output(json=json), name)
        return
    provided = load_registry().get(kind, name)
    if json:
        Output(json=True).data(described(provided))
    else:
        _show_component(Output(), provided)


@plugins.command()
def check(
    package: Annotated[
        str | None,
        typer.Argument(
            help="A distribution, or a file; addkit for the built-ins. Without: all third-party."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check components and commands by the laws of their kinds. Exit code 1 if one fails.

    \b
    addkit plugins check my-conditioner
    addkit plugins check my-experiment.py
    """
    from addkit.cli.output import Output
    from addkit.cli.plugin_commands import check_commands
    from addkit.plugin import load_registry
    from addkit.testing import check_package

    if package is not None:
        package = _meant(package)
    verdicts, registry = [], load_registry()
    output = Output(json=json)
    of_commands = check_commands(package)
    of_components = check_package(registry, package, may_be_empty=bool(of_commands))
    for verdict in (*of_commands, *of_components):
        verdicts.append(verdict)
        if not json:
            _show_verdict(output, verdict)
    if json:
        output.data([verdict.data() for verdict in verdicts])
    else:
        _show_sum(output, verdicts)
    if any(verdict.broken for verdict in verdicts):
        raise typer.Exit(1)


@plugins.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the package and of what it provides.")],
    kind: Annotated[
        str,
        typer.Option(
            help="Kind of the component, such as conditioner; or command.",
            autocompletion=complete_kind,
        ),
    ],
    directory: Annotated[
        Path | None, typer.Option(help="Where to write it; ./NAME if not given.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write a package with a component or a command that works and is tested; then make it yours.

    \b
    addkit plugins new my-conditioner --kind conditioner
    addkit plugins new my-command --kind command
    """
    from addkit.cli.output import Output
    from addkit.plugin.new import write_package

    _check_kind(kind)
    if kind == COMMAND:
        from addkit.cli.plugin_commands import check_new_name

        check_new_name(name)
    folder = directory or Path(name)
    files = write_package(name, kind, folder)
    output = Output(json=json)
    if json:
        output.data({"directory": str(folder), "files": [str(file) for file in files]})
        return
    for file in files:
        output.line(str(file))
    output.line()
    output.line("next:")
    for command in _next_commands(name, kind, folder):
        output.line(f"  {command}")


def _check_kind(kind: str | None) -> None:
    if kind not in (None, COMMAND):
        from addkit.plugin.describe import check_kind

        check_kind(kind)


def _meant(word: str) -> str:
    """The package that a file, a package's folder, or its own name means."""
    path = Path(word)
    if path.suffix == ".py":
        choose(False, None, [path])
        return path.name
    project = path / "pyproject.toml"
    if not project.is_file():
        return word.rstrip("/")
    from tomllib import loads

    return str(loads(project.read_text("utf-8")).get("project", {}).get("name", word))


def _next_commands(name: str, kind: str, folder: Path) -> list[str]:
    recipe = folder / "recipes" / f"{name}.toml"
    last = f"addkit {name}" if kind == COMMAND else f"addkit train {recipe}"
    return [f"pip install -e {folder}", f"addkit plugins check {name}", last]


def _rows(registry: Registry, commands: Commands, kind: str | None) -> list[dict[str, Any]]:
    from addkit.plugin import KINDS
    from addkit.plugin.loading import distribution_of

    rows = []
    for of_kind in (one.kind for one in KINDS if kind in (None, one.kind)):
        for provided in (registry.get(of_kind, name) for name in registry.names(of_kind)):
            spec, package = provided.spec, (provided.distribution, provided.version)
            status = "imports torch" if provided.provider in registry.heavy else "ok"
            rows.append(_cells(of_kind, spec.name, spec.summary, *package, status))
    for command in commands.of(None) if kind in (None, COMMAND) else ():
        about = command.spec.name, command.spec.help
        rows.append(_cells(COMMAND, *about, command.distribution, command.version))
    # A plugin whose commands alone are broken still provides its components.
    seen = {(one.distribution, one.entry_point) for one in registry.broken}
    others = [one for one in commands.broken if (one.distribution, one.entry_point) not in seen]
    for broken in (*registry.broken, *others):
        fault = str(broken).partition('"): ')[2]
        package = broken.distribution, broken.version
        rows.append(_cells(None, broken.entry_point, fault, *package, "broken"))
    return rows + [
        _cells(None, one.name, "", *distribution_of(one), "disabled") for one in registry.disabled
    ]


def _show_or_print(output: Output, rows: list[dict[str, Any]]) -> None:
    if output.for_people:
        _show_rows(output, rows)
    else:
        output.data(rows)


def _cells(kind: str | None, *cells: str) -> dict[str, Any]:
    keys = ("name", "summary", "distribution", "version", "status")
    return {"kind": kind, **dict(zip(keys, [*cells, "ok"], strict=False))}


def _show_rows(output: Output, rows: list[dict[str, Any]]) -> None:
    cells = [("kind", "name", "from", "what")]
    for row in rows:
        provider = f"{row['distribution']} {row['version']}"
        cells.append((row["kind"] or "?", row["name"], provider, _note(row)))
    output.table(cells[0], cells[1:], words=4)


def _note(row: dict[str, Any]) -> str:
    if row["status"] == "ok":
        return str(row["summary"])
    return f"{row['status']}: {row['summary']}".removesuffix(": ")


def _show_requirements(output: Output, registry: Registry, commands: Commands) -> None:
    packages = {(each.distribution, each.version) for each in registry.components.values()}
    packages |= {(each.distribution, each.version) for each in (*registry.broken, *commands.broken)}
    packages |= {(each.distribution, each.version) for each in commands.of(None)}
    own = sorted(each for each in packages if each[0] != "addkit" and not each[0].endswith(".py"))
    lines = [f"{name}=={version}" for name, version in own]
    if output.for_people:
        for line in lines:
            output.line(line)
    else:
        output.data(lines)


def _show_command(output: Output, name: str) -> None:
    from addkit.errors import PluginError, guess
    from addkit.plugin.commands import load_commands

    by_name = load_commands().by_name
    if name not in by_name:
        known = ", ".join(sorted(by_name)) or "none"
        raise PluginError(
            f'no plugin has a command "{name}"{guess(name, by_name)}. Known: {known}.'
        )
    for command in by_name[name]:
        spec = command.spec
        if output.for_people:
            output.line(f"command {name}: {spec.help}\nfrom {command.provider}, {spec.command}")
        else:
            output.data(
                {**asdict(spec), "distribution": command.distribution, "version": command.version}
            )


def _show_component(output: Output, provided: Provided) -> None:
    from addkit.plugin.describe import about, paste, settings_of

    spec = provided.spec
    output.line(f"{spec.kind} {spec.name}: {spec.summary}")
    output.line(f"from {provided.provider}")
    output.line()
    output.line(about(spec.settings))
    settings = settings_of(spec.settings)
    if settings:
        output.line()
        rows = [
            [one.name, one.type, _given(one.default, one.required), one.range, one.meaning]
            for one in settings
        ]
        output.table(["setting", "type", "default", "range", "meaning"], rows, words=5)
    if spec.provides:
        output.line(f"\nprovides: {', '.join(sorted(spec.provides))}")
    if spec.needs:
        needs = ", ".join(f"{key} = {value}" for key, value in spec.needs.items())
        output.line(f"\nneeds: {needs}")
    output.line(f"\n{paste(provided)}")


def _given(default: str | None, required: bool) -> str:
    if required:
        return "must be given"
    return "absent" if default is None else default


def _show_verdict(output: Output, verdict: Verdict) -> None:
    laws = f"{verdict.kept} laws hold" + (f", {verdict.skipped}" if verdict.skipped else "")
    output.line(f"{'FAIL' if verdict.broken else 'ok':4}  {verdict.kind} {verdict.name}: {laws}")
    for law, why in verdict.broken.items():
        output.line(f"      {law}: {why}")


def _show_sum(output: Output, verdicts: list[Verdict]) -> None:
    failed = sum(bool(verdict.broken) for verdict in verdicts)
    kinds = {"command" if verdict.kind == COMMAND else "component" for verdict in verdicts}
    what = " and ".join(f"{kind}s" for kind in ("component", "command") if kind in kinds)
    output.line(f"{len(verdicts) - failed} of {len(verdicts)} {what} keep every law")
