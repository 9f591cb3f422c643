"""Sessions of browsers: a signed cookie names a row that can be deleted, so that logging out is final."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from itsdangerous import BadSignature, URLSafeSerializer

from console.api.roles import Principal, Role
from console.api.store import Store, as_text, now
from console.api.users import User

COOKIE = "sightline_session"
CSRF_HEADER = "x-csrf-token"


@dataclass(frozen=True, slots=True)
class Session:
    """`cookie` is the value to set, `csrf` what the page must send with whatever changes state."""

    cookie: str
    csrf: str
    expires_at: datetime


class Sessions:
    """The sessions in `store`."""

    def __init__(self, store: Store, hours: float) -> None:
        self._store = store
        self._life = timedelta(hours=hours)
        self._signer = URLSafeSerializer(store.secret("session"), salt="sightline.session")

    def begin(self, user: User) -> Session:
        """A session of `user`; those that have expired are removed."""
        token, csrf, expires = secrets.token_urlsafe(32), secrets.token_urlsafe(32), now() + self._life
        with self._store.open() as connection:
            connection.execute("DELETE FROM sessions WHERE expires_at <= ?", (as_text(now()),))
            connection.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?)", (_digest(token), user.name, csrf, as_text(expires))
            )
        return Session(str(self._signer.dumps(token)), csrf, expires)

    def find(self, cookie: str) -> tuple[Principal, datetime] | None:
        """Whose session this is and when it ends, with the role that the user has now; None when it is none."""
        try:
            session_id = _digest(str(self._signer.loads(cookie)))
        except BadSignature:
            return None
        with self._store.open() as connection:
            row = connection.execute(
                "SELECT name, role, csrf, expires_at FROM sessions JOIN users ON user = name "
                "WHERE session_id = ? AND expires_at > ? AND NOT disabled",
                (session_id, as_text(now())),
            ).fetchone()
        if row is None:
            return None
        principal = Principal("user", row["name"], Role(row["role"]), session_id, row["csrf"])
        return principal, datetime.fromisoformat(row["expires_at"])

    def end(self, session_id: str) -> None:
        """Log out."""
        with self._store.open() as connection:
            connection.execute("DELETE FROM sessions WHERE session_id = ?", (session_id,))


def csrf_matches(principal: Principal, sent: str | None) -> bool:
    """Whether the page that asks is ours: only it can read the token."""
    return principal.csrf is not None and hmac.compare_digest(principal.csrf.encode(), (sent or "").encode())


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
