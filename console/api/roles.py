"""Who may do what: four roles, each of which may do all that the one before may."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Role(StrEnum):
    """Viewers look; operators answer alerts; engineers change what judges; admins see the audit trail."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ENGINEER = "engineer"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Whether this role may do what `needed` may."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(needed)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `name` is the user's, or the key's behind `key:`; `csrf` is set for sessions alone."""

    kind: Literal["user", "key"]
    name: str
    role: Role
    session: str | None = None
    csrf: str | None = None
