"""`sightline serve`, `sightline users …`, `sightline keys …`."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.api.roles import Role

if TYPE_CHECKING:
    from console.api.audit import AuditTrail
    from console.api.store import Store

app = typer.Typer()
users = typer.Typer(no_args_is_help=True, help="Local users of the API and the console.")
keys = typer.Typer(no_args_is_help=True, help="API keys for machines.")
app.add_typer(users, name="users")
app.add_typer(keys, name="keys")

Name = Annotated[str, typer.Argument(help="The user's name.")]
FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input instead of asking for it.")
]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; beyond loopback it needs TLS.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 8765 unless configured.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="TLS certificate, with --key.")] = None,
    key: Annotated[Path | None, typer.Option(help="Private key of the certificate.")] = None,
) -> None:
    """Serve the REST API under /v1.

    It needs the Delta tables for history, the broker for alerts and actions, the registry for detectors; where one is
    away, the rest answers. There is no default password: make the first admin with `sightline users create-admin`, or
    with the token that is printed while there is no user.

    Example: `sightline serve --port 8765`
    """
    from console.api.serve import serve as run
    from console.api.settings import ApiSettings

    run(ApiSettings.load(host=host, port=port, tls_certificate=certificate, tls_key=key))


@users.command("create-admin")
def create_admin(name: Name, password_stdin: FromStdin = False) -> None:
    """Make the first admin of a new deployment; refused where there are users."""
    from console.api.users import Users

    store, audit = _open()
    Users(store).add_first(name, _password(password_stdin))
    audit.note("setup", _me(), user=name)
    typer.echo(f"{name} is admin")


@users.command("add")
def add_user(
    name: Name,
    role: Annotated[Role, typer.Option(help="What the user may do.")] = Role.VIEWER,
    password_stdin: FromStdin = False,
) -> None:
    """Add a user."""
    from console.api.users import Users

    store, audit = _open()
    Users(store).add(name, role, _password(password_stdin))
    audit.note("user-added", _me(), user=name, role=role)
    typer.echo(f"{name} is {role.value}")


@users.command("list")
def list_users() -> None:
    """List the users."""
    from rich.console import Console
    from rich.table import Table

    from console.api.users import Users

    table = Table("user", "role", "from", "since", "state")
    for user in Users(_open()[0]).list():
        state = "disabled" if user.disabled else ""
        table.add_row(user.name, user.role.value, user.source, f"{user.created_at:%Y-%m-%d %H:%M} UTC", state)
    Console().print(table)


@users.command("disable")
def disable_user(
    name: Name, undo: Annotated[bool, typer.Option("--undo", help="Let the user in again.")] = False
) -> None:
    """Keep a user out from now on; sessions end at once."""
    from console.api.users import Users

    store, audit = _open()
    Users(store).set_disabled(name, not undo)
    audit.note("user-enabled" if undo else "user-disabled", _me(), user=name)
    typer.echo(f"{name} {'may come in again' if undo else 'is disabled'}")


@users.command("password")
def change_password(name: Name, password_stdin: FromStdin = False) -> None:
    """Give a user another password; sessions end at once."""
    from console.api.users import Users

    store, audit = _open()
    Users(store).set_password(name, _password(password_stdin))
    audit.note("password-changed", _me(), user=name)
    typer.echo(f"{name} has a new password")


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for, such as `plc-north`.")],
    role: Annotated[Role, typer.Option(help="What the key may do.")] = Role.VIEWER,
    days: Annotated[float, typer.Option(help="How long it lasts.")] = 90,
) -> None:
    """Make an API key and print it; it is shown this once."""
    from console.api.keys import ApiKeys

    store, audit = _open()
    key, text = ApiKeys(store).create(name, role, days)
    audit.note("key-created", _me(), key=key.key_id, name=name, role=role, expires=key.expires_at.isoformat())
    typer.echo(f"key {key.key_id} for {name}, {role.value}, until {key.expires_at:%Y-%m-%d %H:%M} UTC", err=True)
    typer.echo(text)


@keys.command("list")
def list_keys() -> None:
    """List the keys, without what they are."""
    from rich.console import Console
    from rich.table import Table

    from console.api.keys import ApiKeys
    from console.api.store import now

    table = Table("key", "name", "role", "until", "state")
    for key in ApiKeys(_open()[0]).list():
        state = "revoked" if key.revoked_at else "expired" if key.expires_at <= now() else ""
        table.add_row(key.key_id, key.name, key.role.value, f"{key.expires_at:%Y-%m-%d %H:%M} UTC", state)
    Console().print(table)


@keys.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="As `sightline keys list` shows it.")]) -> None:
    """Make a key worthless, at once."""
    from console.api.keys import ApiKeys

    store, audit = _open()
    key = ApiKeys(store).revoke(key_id)
    audit.note("key-revoked", _me(), key=key.key_id, name=key.name)
    typer.echo(f"{key.key_id} ({key.name}) is revoked")


def _open() -> tuple[Store, AuditTrail]:
    from console.api.audit import AuditTrail
    from console.api.settings import ApiSettings
    from console.api.store import Store

    folder = ApiSettings.load().folder
    return Store(folder), AuditTrail(folder)


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


def _me() -> str:
    return f"cli:{getpass.getuser()}"
