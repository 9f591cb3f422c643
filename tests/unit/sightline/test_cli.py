"""The `sightline` command: help that is quick and complete, and errors without tracebacks."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
import typer
from typer.testing import CliRunner

from sightline import __version__, cli
from sightline.errors import BrokerError, SettingsError

ROOMS = sorted(entry_points(group="sightline.commands"), key=lambda entry: entry.name)
COMMANDS = [
    (entry.value, command.name or command.callback.__name__.replace("_", "-"))
    for entry in ROOMS
    for command in entry.load().registered_commands
]


def sightline(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sightline", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | environment,
        check=False,
    )


def test_every_room_has_its_commands_under_one_name() -> None:
    assert {entry.name for entry in ROOMS} == {"benchmarks", "console", "infra", "models", "producers", "streaming"}
    done = sightline("--help")
    assert done.returncode == 0
    for name in ("alerts", "query", "tables", "verify", "report"):
        assert name in done.stdout


@pytest.mark.parametrize(("room", "command"), COMMANDS)
def test_every_command_teaches(room: str, command: str) -> None:
    app = next(entry for entry in ROOMS if entry.value == room).load()
    root = typer.Typer()
    root.add_typer(app)
    # with a callback even a room with one command has its name
    root.callback()(lambda: None)
    done = CliRunner().invoke(root, [command, "--help"], env={"COLUMNS": "100"})
    assert done.exit_code == 0, done.output
    assert len(done.output.split("Options")[0].split()) > 6, f"{command} says too little of itself"


def test_the_version_is_the_package_s_own() -> None:
    assert sightline("--version").stdout.strip() == f"sightline {__version__}"


@pytest.mark.parametrize(("error", "code"), [(BrokerError("no broker at nowhere:1"), 1), (SettingsError("bad key"), 2)])
def test_an_error_is_a_message_and_an_exit_code(error, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise error

    with pytest.raises(SystemExit) as ended, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["sightline"])
        cli.run(app)
    assert ended.value.code == code
    told = capsys.readouterr().err
    assert told.strip() == f"error: {error}"


def test_a_wrong_setting_ends_a_real_command_with_its_key() -> None:
    done = sightline("alerts", SIGHTLINE_KAFKA_PARTITIONS="many")
    assert done.returncode == 2
    assert "SIGHTLINE_KAFKA_PARTITIONS" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broker_that_is_not_there_is_named_with_the_remedy() -> None:
    done = sightline("alerts", SIGHTLINE_KAFKA_BOOTSTRAP="127.0.0.1:1")
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "SIGHTLINE_KAFKA_BOOTSTRAP" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_tables_that_are_not_there_are_named_with_the_remedy(tmp_path) -> None:
    done = sightline("query", "SELECT 1", SIGHTLINE_TABLES_ROOT=str(tmp_path / "none"))
    assert done.returncode == 1
    assert "sightline history" in done.stderr
    assert "Traceback" not in done.stderr
