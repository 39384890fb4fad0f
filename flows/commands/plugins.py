"""`evenhand plugins`: lists the plugins and writes the skeleton of a new one."""

from __future__ import annotations

from inspect import getdoc
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.output import AsJson, print_json, say, table

if TYPE_CHECKING:
    from pipeline_core.packages.announced import PluginOrigin
    from pipeline_core.plugin.registry import Registry

app = typer.Typer(help="Installed plugins.", invoke_without_command=True)


@app.callback()
def plugins(
    context: typer.Context,
    as_json: AsJson = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail when a plugin cannot be loaded.")] = False,
) -> None:
    """List the plugins of every stage and the data formats: origin, version and, with --json, a plugin's settings."""
    if context.invoked_subcommand:  # typer calls this before `plugins new` too
        return
    from pipeline_core.plugin.registry import load_registry

    registry = load_registry()
    specs, formats = registry.specs(), registry.formats.by_name.values()
    rows = [_row(spec.stage, spec.name, registry.origin(spec), spec.config.model_json_schema()) for spec in specs]
    rows += [
        _row("data", each.name, registry.formats.origin(each.name), {"description": getdoc(each.rows)})
        for each in formats
    ]
    if as_json:
        print_json(rows)
    else:
        columns = ["stage", "name", "origin", "version", "what it is"]
        shown = [[*(str(row[key]) for key in columns[:4]), _first_line(row["schema"])] for row in rows]
        table(f"{len(specs)} plugins, {len(formats)} data formats", columns, shown)
    _tell_broken(registry, strict)


def _row(stage: str, name: str, origin: PluginOrigin, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "stage": stage,
        "name": name,
        "origin": f"{origin.distribution}:{origin.module}",
        "version": origin.version,
        "schema": schema,
    }


def _first_line(schema: dict[str, Any]) -> str:
    return str(schema.get("description") or "").split("\n", 1)[0]


def _tell_broken(registry: Registry, strict: bool) -> None:
    from pipeline_core.errors import BadInput

    for broken in registry.broken:
        say(f"broken: {broken}")
    if strict and registry.broken:
        raise BadInput(f"{len(registry.broken)} plugins cannot be loaded (see above)")


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Name of the plugin, e.g. simpo.")],
    stage: Annotated[str, typer.Option(help="base, extend, reward, policy or evaluate.")],
    into: Annotated[str | None, typer.Option(help="Folder for the two files; else where they belong.")] = None,
) -> None:
    """Write the skeleton of a plugin and its test."""
    from importlib.util import find_spec
    from pathlib import Path

    from flows.scaffold.writing import in_repository, write_scaffold

    plugin, test = write_scaffold(name, stage, None if into is None else Path(into))
    say(f"wrote {plugin} and {test}")
    if into is not None or not in_repository():
        say("in a package: declare")
        say(f'  [project.entry-points."evenhand.plugins"]\n  {name} = "{plugin.stem}"')
    if find_spec("pytest") is None:
        say("its test needs pytest: `make lint` installs it in the repository, `pip install 'evenhand[dev]'` elsewhere")
    say(f"then: python -m pytest {test}")
