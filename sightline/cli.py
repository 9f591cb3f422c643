"""The `sightline` command: the commands of every installed room under one name.

Each room offers a Typer application as an entry point in the group `sightline.commands`, so this package imports none
of them. The modules behind the entry points import no heavy library before a command runs.
"""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

import typer
from rich.console import Console
from rich.text import Text

from sightline import __version__
from sightline.errors import SightlineError


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"sightline {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="sightline",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Watch production lines in real time: cameras, verdicts, alerts, history.\n\n"
    "Settings come from `sightline.toml` and `SIGHTLINE_*` variables; an embedded deployment started by "
    "`make demo` is found by itself.",
)


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Shared options."""


def load_rooms() -> None:
    """Add the commands of every installed room, in the order of their names."""
    for entry in sorted(entry_points(group="sightline.commands"), key=lambda entry: entry.name):
        app.add_typer(entry.load())


def run(application: typer.Typer) -> None:
    """Run a Typer application; a SightlineError is printed as a message, with its exit code, not as a traceback."""
    try:
        application()
    except SightlineError as error:
        Console(stderr=True).print(
            Text("error: ", style="bold red").append(str(error), style="default"), soft_wrap=True
        )
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def main() -> None:
    """Entry point of the `sightline` command."""
    load_rooms()
    run(app)


if __name__ == "__main__":
    main()
