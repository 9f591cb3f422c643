"""Everything that routes use, wired once; tests put their own parts in through the same door."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Request

from console.api.actions import Actions, ActionSink, KafkaActions
from console.api.alert_feed import AlertFeed
from console.api.audit import AuditTrail
from console.api.catalogue import Catalogue, Registry
from console.api.guard import Guard, principal
from console.api.histories import Histories
from console.api.keys import ApiKeys
from console.api.oidc import SignOn
from console.api.retraining import Retrainings
from console.api.roles import Principal
from console.api.run_records import Records, RunRecords
from console.api.sessions import Sessions
from console.api.settings import ApiSettings, OidcSettings
from console.api.store import Store
from console.api.throttle import Throttle
from console.api.users import Users
from console.engineering.exports import Exports
from console.mutes import MuteFollower
from sightline.settings import KafkaSettings, RegistrySettings, TableSettings


class SetupToken:
    """Lets whoever reads the terminal of a new deployment make its first admin; in memory alone, and used once."""

    def __init__(self) -> None:
        self.text = secrets.token_urlsafe(24)

    def matches(self, sent: str) -> bool:
        """Whether `sent` is the token."""
        return hmac.compare_digest(self.text.encode(), sent.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of one API process; `setup` is None once there is a user.

    `decoding` bounds the pictures that are decoded at once: more than there are cores only take them from scoring.
    """

    settings: ApiSettings
    users: Users
    keys: ApiKeys
    sessions: Sessions
    audit: AuditTrail
    guard: Guard
    names: Throttle
    addresses: Throttle
    histories: Histories
    actions: Actions
    feed: AlertFeed
    mutes: MuteFollower
    catalogue: Catalogue
    records: RunRecords
    retrainings: Retrainings
    exports: Exports
    decoding: CapacityLimiter
    sign_on: SignOn | None
    setup: SetupToken | None

    def close(self) -> None:
        """Let go of threads and connections."""
        self.feed.stop()
        self.mutes.stop()
        self.catalogue.close()
        self.retrainings.close()


def wire(
    settings: ApiSettings,
    oidc: OidcSettings,
    *,
    kafka: KafkaSettings,
    tables: TableSettings,
    registry: RegistrySettings,
    sink: ActionSink | None = None,
    feed: AlertFeed | None = None,
    detectors: Registry | None = None,
    records: Records | None = None,
    retrain: Sequence[str] | None = None,
) -> Services:
    """All parts; raises PrerequisiteError when the folder cannot be used. Nothing is asked of broker or registry."""
    store, audit = Store(settings.folder), AuditTrail(settings.folder)
    users, keys, sessions = Users(store), ApiKeys(store), Sessions(store, settings.session_hours)
    histories = Histories(tables)
    return Services(
        settings=settings,
        users=users,
        keys=keys,
        sessions=sessions,
        audit=audit,
        guard=Guard(keys, sessions, audit, settings.requests_a_minute),
        names=Throttle(settings.login_attempts),
        addresses=Throttle(4 * settings.login_attempts),
        histories=histories,
        actions=Actions(store, sink or KafkaActions(kafka)),
        feed=feed or AlertFeed.of(kafka),
        mutes=MuteFollower(kafka),
        catalogue=Catalogue(
            registry,
            settings.folder,
            loaded=settings.loaded_detectors,
            threads=settings.threads,
            registry=detectors,
        ),
        records=RunRecords(registry, records),
        retrainings=Retrainings(settings.folder, audit, retrain),
        exports=Exports(histories),
        decoding=CapacityLimiter(settings.threads),
        sign_on=SignOn(oidc, store.secret("oidc")) if oidc.issuer else None,
        setup=None if users.list() else SetupToken(),
    )


def services(request: Request) -> Services:
    """The parts of the application that answers."""
    found: Services = request.app.state.services
    return found


Here = Annotated[Services, Depends(services)]
Who = Annotated[Principal, Depends(principal)]
