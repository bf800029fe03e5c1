"""`addkit plugins`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from addkit.cli.completion import complete_any_component, complete_kind
from addkit.cli.options import JsonOption
from addkit.cli.plugin_commands import choose
from addkit.terminal import addkit_command, quoted

if TYPE_CHECKING:
    from addkit.cli.output import Output
    from addkit.plugin import Provided, Registry
    from addkit.plugin.commands import Commands


plugins = typer.Typer(
    help="List, show, check and write plugins.", rich_markup_mode=None, no_args_is_help=True
)

COMMAND = "command"
"""A value of `--kind`, in addition to the kinds of components."""


@plugins.callback()
def root() -> None:
    """List, show, check and write plugins."""


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
        packages = {(each.distribution, each.version) for each in registry.components.values()}
        packages |= {(each.distribution, each.version) for each in commands.of(None)}
        broken = (*registry.broken, *commands.broken)
        packages |= {(each.distribution, each.version) for each in broken}
        # Neither addkit itself nor a file can be installed by such a line.
        lines = [
            f"{name}=={version}"
            for name, version in sorted(packages)
            if name != "addkit" and not name.endswith(".py")
        ]
        if json:
            output.data(lines)
        for line in () if json else lines:
            output.line(line)
        return
    rows = _rows(registry, commands, kind)
    if json:
        output.data(rows)
        return
    cells = []
    for row in rows:
        summary = str(row["summary"])
        if row["status"] != "ok":
            summary = f"{row['status']}: {summary}".removesuffix(": ")
        provider = f"{row['distribution']} {row['version']}"
        cells.append((row["kind"] or "?", str(row["name"]), provider, summary))
    output.table(("kind", "name", "from", "summary"), cells, words=4)


@plugins.command()
def show(
    kind: Annotated[str, typer.Argument(help="Such as schedule.", autocompletion=complete_kind)],
    name: Annotated[
        str, typer.Argument(help="Such as cosine.", autocompletion=complete_any_component)
    ],
    json: JsonOption = False,
) -> None:
    """Show a component: its docstring, settings and provider, and a table to paste.

    addkit plugins show schedule cosine
    """
    from addkit.cli.output import Output
    from addkit.plugin import load_registry
    from addkit.plugin.describe import described

    _check_kind(kind)
    output = Output(json=json)
    if kind == COMMAND:
        _show_command(output, name)
        return
    provided = load_registry().get(kind, name)
    if json:
        output.data(described(provided))
    else:
        _show_component(output, provided)


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
        # Before the registry is loaded: a file is added to it.
        package = _package_named(package)
    verdicts, registry = [], load_registry()
    output = Output(json=json)
    of_commands = check_commands(package)
    of_components = check_package(registry, package, may_be_empty=bool(of_commands))
    for verdict in (*of_commands, *of_components):
        verdicts.append(verdict)
        if json:
            continue
        # At once, since checking a component may take seconds.
        laws = f"{verdict.kept} laws hold" + (f", {verdict.skipped}" if verdict.skipped else "")
        state = "FAIL" if verdict.broken else "ok"
        output.line(f"{state:4}  {verdict.kind} {verdict.name}: {laws}")
        for law, why in verdict.broken.items():
            output.line(f"      {law}: {why}")
    if json:
        output.data([verdict.data() for verdict in verdicts])
    else:
        passed = sum(not verdict.broken for verdict in verdicts)
        kinds = {"command" if each.kind == COMMAND else "component" for each in verdicts}
        what = " and ".join(f"{kind}s" for kind in ("component", "command") if kind in kinds)
        output.line(f"{passed} of {len(verdicts)} {what} keep every law")
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
    from addkit.plugin.new import package_files
    from addkit.runs.atomic import write_files

    _check_kind(kind)
    if kind == COMMAND:
        from addkit.cli.plugin_commands import check_new_name

        check_new_name(name)
    folder = directory or Path(name)
    files = package_files(name, kind, folder)
    write_files(folder, files)
    output = Output(json=json)
    if json:
        output.data({"directory": str(folder), "files": [str(file) for file in files]})
        return
    for file in files:
        output.line(str(file))
    output.line()
    output.line("next:")
    output.line(f"  pip install -e {quoted(folder)}")
    output.line(f"  {addkit_command('plugins', 'check', name)}")
    recipe = folder / "recipes" / f"{name}.toml"
    output.line(f"  {addkit_command(name) if kind == COMMAND else addkit_command('train', recipe)}")


def _check_kind(kind: str | None) -> None:
    if kind not in (None, COMMAND):
        from addkit.plugin.describe import check_kind

        check_kind(kind)


def _package_named(word: str) -> str:
    """The name of a package, given by a plugin file, the package's folder, or the name itself."""
    path = Path(word)
    if path.suffix == ".py":
        choose(False, None, [path])
        return path.name
    # A folder in a checkout, completed by the shell with a slash.
    project = path / "pyproject.toml"
    if not project.is_file():
        return word.rstrip("/")
    from tomllib import loads

    return str(loads(project.read_text("utf-8")).get("project", {}).get("name", word))


def _rows(registry: Registry, commands: Commands, kind: str | None) -> list[dict[str, Any]]:
    from addkit.plugin import KINDS
    from addkit.plugin.loading import distribution_of

    """A row for each component, command, broken plugin and disabled plugin."""
    rows = []
    for of_kind in (spec.kind for spec in KINDS if kind in (None, spec.kind)):
        for provided in (registry.get(of_kind, name) for name in registry.names(of_kind)):
            spec, package = provided.spec, (provided.distribution, provided.version)
            status = "imports torch" if provided.provider in registry.heavy else "ok"
            rows.append(_cells(of_kind, spec.name, spec.summary, *package, status))
    for command in commands.of(None) if kind in (None, COMMAND) else ():
        about = command.spec.name, command.spec.help
        rows.append(_cells(COMMAND, *about, command.distribution, command.version))
    # A plugin whose commands alone are broken still provides its components.
    seen = {(each.distribution, each.entry_point) for each in registry.broken}
    others = [each for each in commands.broken if (each.distribution, each.entry_point) not in seen]
    for broken in (*registry.broken, *others):
        fault = str(broken).partition('"): ')[2]
        package = broken.distribution, broken.version
        rows.append(_cells(None, broken.entry_point, fault, *package, "broken"))
    return rows + [
        _cells(None, each.name, "", *distribution_of(each), "disabled")
        for each in registry.disabled
    ]


def _cells(kind: str | None, *cells: str) -> dict[str, Any]:
    keys = ("name", "summary", "distribution", "version", "status")
    return {"kind": kind, **dict(zip(keys, [*cells, "ok"], strict=False))}


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
            output.line(f"command {name}: {spec.help}")
            output.line(f"from {command.provider}, {spec.command}")
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
    output.text(f"{about(spec.settings)}\n")
    settings = settings_of(spec.settings)
    if settings:
        output.line()
        rows = []
        for setting in settings:
            default = "absent" if setting.default is None else setting.default
            default = "must be given" if setting.required else default
            rows.append([setting.name, setting.type, default, setting.range, setting.meaning])
        output.table(["setting", "type", "default", "range", "meaning"], rows, words=5)
    if spec.provides:
        output.line()
        output.line(f"provides: {', '.join(sorted(spec.provides))}")
    if spec.needs:
        needs = ", ".join(f"{key} = {value}" for key, value in spec.needs.items())
        output.line()
        output.line(f"needs: {needs}")
    output.text(f"\n{paste(provided)}\n")
