"""API keys for machines: shown once, stored as a digest, with a role and an end."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from console.api.roles import Principal, Role
from console.api.store import Store, as_text, now
from sightline.errors import AccessError

PREFIX = "sl_"
"""What every key starts with, so that scanners for leaked secrets can know it."""
MAX_DAYS = 3650

_KEY = re.compile(PREFIX + r"([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NAME = re.compile(r"[\w][\w .:@/+-]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key besides the key itself."""

    key_id: str
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


class ApiKeys:
    """The keys in `store`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, name: str, role: Role, days: float) -> tuple[ApiKey, str]:
        """A new key and its text, which cannot be had again; raises AccessError for a bad name or time."""
        if not _NAME.fullmatch(name):
            raise AccessError(f"a key's name is 1 to 100 letters, digits, spaces and . : @ / + - _, not {name[:100]!r}")
        if not 0 < days <= MAX_DAYS:
            raise AccessError(f"a key lasts for up to {MAX_DAYS} days, not {days:g}")
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        created = now()
        key = ApiKey(key_id, name, role, created, created + timedelta(days=days), None)
        with self._store.open() as connection:
            connection.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, NULL)",
                (key_id, name, role, _digest(secret), as_text(created), as_text(key.expires_at)),
            )
        return key, f"{PREFIX}{key_id}_{secret}"

    def list(self) -> list[ApiKey]:
        """All, revoked and expired ones too, the newest first."""
        with self._store.open() as connection:
            return [_key(row) for row in connection.execute("SELECT * FROM keys ORDER BY created_at DESC")]

    def revoke(self, key_id: str) -> ApiKey:
        """Raises AccessError for an unknown key; a revoked one stays as it is."""
        with self._store.open() as connection:
            connection.execute(
                "UPDATE keys SET revoked_at = coalesce(revoked_at, ?) WHERE key_id = ?", (as_text(now()), key_id)
            )
            row = connection.execute("SELECT * FROM keys WHERE key_id = ?", (key_id,)).fetchone()
        if row is None:
            raise AccessError(f"there is no key {key_id!r}; `sightline keys list` shows them")
        return _key(row)

    def verify(self, text: str) -> Principal | None:
        """Who shows this key; None when it is unknown, revoked or expired."""
        found = _KEY.fullmatch(text)
        if not found:
            return None
        with self._store.open() as connection:
            row = connection.execute("SELECT * FROM keys WHERE key_id = ?", (found[1],)).fetchone()
        # the secret is 256 random bits: a plain digest cannot be searched, and costs no time at each request
        if row is None or not hmac.compare_digest(row["hash"], _digest(found[2])):
            return None
        key = _key(row)
        if key.revoked_at or key.expires_at <= now():
            return None
        return Principal("key", f"key:{key.name}", key.role)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(row: Any) -> ApiKey:
    revoked = row["revoked_at"] and datetime.fromisoformat(row["revoked_at"])
    created, expires = (datetime.fromisoformat(row[name]) for name in ("created_at", "expires_at"))
    return ApiKey(row["key_id"], row["name"], Role(row["role"]), created, expires, revoked)
