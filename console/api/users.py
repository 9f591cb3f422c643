"""Local users and their passwords (argon2id, RFC 9106)."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from console.api.roles import Role
from console.api.store import Store, as_text, now
from sightline.errors import AccessError

MIN_PASSWORD = 12
MAX_PASSWORD = 256
LOCAL = "local"
OIDC = "oidc"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
_hasher = PasswordHasher()
# each hash takes 64 MiB: many logins at once wait rather than exhaust the memory
_hashing = threading.BoundedSemaphore(2)


@dataclass(frozen=True, slots=True)
class User:
    """`source` is `local`, or `oidc` for one that single sign-on brought; such a one has no password."""

    name: str
    role: Role
    source: str
    disabled: bool
    created_at: datetime


class Users:
    """The users in `store`. Changing a password, disabling and removing a user end all sessions of that user."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, name: str, role: Role, password: str | None, source: str = LOCAL) -> User:
        """Raises AccessError for a name that is taken or malformed, and for a password that is too weak."""
        _check_name(name)
        hashed = None if password is None else _hash(_strong(password, name))
        user = User(name, role, source, False, now())
        with self._store.open() as connection:
            taken = connection.execute("SELECT 1 FROM users WHERE name = ?", (name,)).fetchone()
            if taken:
                raise AccessError(
                    f"there is a user {name!r} already; choose another name or `sightline users password`"
                )
            connection.execute(
                "INSERT INTO users VALUES (?, ?, ?, ?, 0, ?)", (name, role, hashed, source, as_text(user.created_at))
            )
        return user

    def add_first(self, name: str, password: str) -> User:
        """The admin of a new deployment; raises AccessError where there is a user already."""
        _check_name(name)
        hashed = _hash(_strong(password, name))
        with self._store.open() as connection:
            # one statement: of two that come at once, one is the first
            done = connection.execute(
                "INSERT INTO users SELECT ?, ?, ?, ?, 0, ? WHERE NOT EXISTS (SELECT 1 FROM users)",
                (name, Role.ADMIN, hashed, LOCAL, as_text(now())),
            )
        if not done.rowcount:
            raise AccessError("there are users already; an admin adds more with `sightline users add`")
        return self.get(name)

    def sign_on(self, name: str, role: Role) -> User:
        """The user that single sign-on vouches for, with the role that it gives today.

        Raises AccessError where a local user has that name, or an admin has disabled this one.
        """
        _check_name(name)
        with self._store.open() as connection:
            connection.execute(
                "INSERT INTO users VALUES (?, ?, NULL, ?, 0, ?) "
                "ON CONFLICT (name) DO UPDATE SET role = excluded.role WHERE source = excluded.source",
                (name, role, OIDC, as_text(now())),
            )
        user = self.get(name)
        if user.source != OIDC or user.disabled:
            raise AccessError(f"user {name!r} may not sign on this way; ask an admin")
        return user

    def get(self, name: str) -> User:
        """Raises AccessError for an unknown one."""
        with self._store.open() as connection:
            row = connection.execute("SELECT * FROM users WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise AccessError(f"there is no user {name!r}; `sightline users list` shows them")
        return _user(row)

    def list(self) -> list[User]:
        """All, by name."""
        with self._store.open() as connection:
            return [_user(row) for row in connection.execute("SELECT * FROM users ORDER BY name")]

    def verify(self, name: str, password: str) -> User | None:
        """The user if the password is right and the user may log in; it takes as long when there is no such user."""
        with self._store.open() as connection:
            row = connection.execute("SELECT * FROM users WHERE name = ?", (name,)).fetchone()
        known = row is not None and row["password"] is not None
        right = _matches(row["password"] if known else _nobodys_hash(), password)
        if not (right and known) or row["disabled"]:
            return None
        return _user(row)

    def set_password(self, name: str, password: str) -> None:
        """Raises AccessError for an unknown user, one without password, or a weak password."""
        if self.get(name).source != LOCAL:
            raise AccessError(f"user {name!r} signs on elsewhere and has no password here")
        self._change(name, "password = ?", _hash(_strong(password, name)))

    def set_disabled(self, name: str, disabled: bool) -> None:
        """Raises AccessError for an unknown user."""
        self.get(name)
        self._change(name, "disabled = ?", int(disabled))

    def _change(self, name: str, assignment: str, value: Any) -> None:
        with self._store.open() as connection:
            connection.execute(f"UPDATE users SET {assignment} WHERE name = ?", (value, name))
            connection.execute("DELETE FROM sessions WHERE user = ?", (name,))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise AccessError(f"a user's name is 1 to 100 letters, digits and . _ @ + -, not {name[:100]!r}")


def _strong(password: str, name: str) -> str:
    """Length counts, not kinds of characters (NIST SP 800-63B, 3.1.1)."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise AccessError(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters; this one has {len(password)}")
    if name.lower() in password.lower() and len(password) < len(name) + MIN_PASSWORD:
        raise AccessError("a password is more than the name with a few characters; choose another")
    if len(set(password)) < 5:
        raise AccessError("a password has at least 5 different characters; choose another")
    return password


def _hash(password: str) -> str:
    with _hashing:
        return _hasher.hash(password)


def _matches(hashed: str, password: str) -> bool:
    if len(password) > MAX_PASSWORD:
        return False
    try:
        with _hashing:
            return _hasher.verify(hashed, password)
    except (VerifyMismatchError, InvalidHashError):
        return False


@cache
def _nobodys_hash() -> str:
    return _hash("the password of nobody")


def _user(row: Any) -> User:
    created = datetime.fromisoformat(row["created_at"])
    return User(row["name"], Role(row["role"]), row["source"], bool(row["disabled"]), created)
