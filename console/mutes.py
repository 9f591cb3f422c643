"""Which alerts are held back now: mutes and maintenance windows, as they stand on `operator-actions`."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from console.following import RETRY_SECONDS, Contact
from sightline.codec import decode, digest_id
from sightline.consumer import open_consumer
from sightline.contracts import ActionKind, Alert, Mute, OperatorAction, Severity
from sightline.errors import AccessError, BrokerError, SightlineError
from sightline.settings import KafkaSettings

log = logging.getLogger(__name__)

LONGEST_MUTE = timedelta(hours=8)
"""A shift: what an operator may hold back."""
LONGEST_WINDOW = timedelta(days=14)
"""From now to the end of a maintenance window; its record must outlive it on the topic."""

_REMEMBERED = 10_000
_POLL_SECONDS = 0.5
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Standing:
    """One mute or maintenance window, `mute.ends_at` moved forward where somebody ended it."""

    mute_id: str
    kind: ActionKind
    actor: str
    set_at: datetime
    mute: Mute
    comment: str | None = None
    ended_by: str | None = None

    def covers(self, line: str, camera: str, product: str, severity: Severity, at: datetime) -> bool:
        """Whether this place, severity and time are held back."""
        mute = self.mute
        return (
            mute.starts_at <= at < mute.ends_at
            and mute.line in (None, line)
            and mute.camera in (None, camera)
            and mute.product in (None, product)
            and mute.severity in (None, severity)
        )


class MuteBook:
    """What the actions so far make of it; any thread may use it."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Standing] = OrderedDict()
        self._lock = threading.Lock()
        self.changes = 0
        """Grows with each change."""

    def apply(self, action: OperatorAction) -> None:
        """Take note of an action; of what is no mute, of a repeat and of the end of an unknown mute nothing comes."""
        with self._lock:
            known = self._known.get(action.alert_id)
            if action.mute is not None and known is None:
                self._known[action.alert_id] = Standing(
                    action.alert_id, action.kind, action.actor, action.at, action.mute, action.comment
                )
                if len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
            elif action.kind is ActionKind.END_MUTE and known and action.at < known.mute.ends_at:
                shorter = replace(known.mute, ends_at=action.at)
                self._known[action.alert_id] = replace(known, mute=shorter, ended_by=action.actor)
            else:
                return
            self.changes += 1

    def find(self, mute_id: str) -> Standing | None:
        """The one with this id."""
        with self._lock:
            return self._known.get(mute_id)

    def standing(self, now: datetime) -> list[Standing]:
        """Those that have not ended at `now`, the next to end first."""
        with self._lock:
            found = [one for one in self._known.values() if one.mute.ends_at > now]
        return sorted(found, key=lambda one: (one.mute.ends_at, one.mute_id))

    def muting(self, *, line: str, camera: str, product: str, severity: Severity, at: datetime) -> Standing | None:
        """What holds alerts of this place back at this time, and for longest; None where they are loud."""
        with self._lock:
            found = [one for one in self._known.values() if one.covers(line, camera, product, severity, at)]
        return max(found, key=lambda one: one.mute.ends_at, default=None)

    def is_muted(self, alert: Alert) -> bool:
        """Whether this revision is held back: what counts is when its last defect was captured."""
        place = {"line": alert.line, "camera": alert.camera, "product": alert.product}
        return self.muting(**place, severity=alert.severity, at=alert.updated_at) is not None


class MuteFollower:
    """Keeps a book of the topic in a thread of its own: all that it holds, then what comes.

    `ready` is set once all is known that was there; a broker that is away is waited for.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self.book = MuteBook()
        self.ready = threading.Event()
        self._kafka = kafka
        self._halt = threading.Event()
        self._thread: threading.Thread | None = None
        self._contact = Contact("mutes")

    def start(self) -> None:
        """Begin; once."""
        self._thread = threading.Thread(target=self._run, name="mutes", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for it."""
        self._halt.set()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        from kafka.errors import KafkaError

        while not self._halt.is_set():
            try:
                follow(self._kafka, self.book, self.ready, self._is_over)
            except (BrokerError, KafkaError) as error:
                self._contact.told(str(error))
                self._halt.wait(RETRY_SECONDS)

    def _is_over(self) -> bool:
        """Asked after each answer of the broker."""
        self._contact.told(None)
        return self._halt.is_set()


def read_book(kafka: KafkaSettings, connect_seconds: float = _CONNECT_SECONDS) -> MuteBook:
    """The book as the topic stands now; raises BrokerError."""
    from kafka.errors import KafkaError

    book, ready = MuteBook(), threading.Event()
    deadline = time.monotonic() + 12 * connect_seconds
    try:
        follow(kafka, book, ready, lambda: ready.is_set() or time.monotonic() > deadline)
    except KafkaError as error:
        raise BrokerError(f"the broker at {kafka.bootstrap} does not give the mutes: {error}") from error
    if not ready.is_set():
        raise BrokerError(f"the broker at {kafka.bootstrap} did not give all mutes in time; try again")
    return book


def follow(kafka: KafkaSettings, book: MuteBook, ready: threading.Event, is_over: Callable[[], bool]) -> None:
    """Read the topic from its beginning into `book`, until `is_over`; raises BrokerError or KafkaError."""
    from kafka import TopicPartition

    topic = kafka.topics.operator_actions
    with closing(open_consumer(kafka, connect_seconds=_CONNECT_SECONDS, client_id="sightline-mutes")) as consumer:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        if not partitions:
            raise BrokerError(f"there is no topic {topic!r}; create the topics with `sightline topics`")
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        while not is_over():
            for records in consumer.poll(timeout_ms=int(_POLL_SECONDS * 1000)).values():
                for record in records:
                    _note(record, book)
            if not ready.is_set() and all(consumer.position(one) >= end for one, end in ends.items()):
                ready.set()


def setting(
    mute: Mute, kind: ActionKind, actor: str, comment: str | None, now: datetime, *, action_id: str | None = None
) -> OperatorAction:
    """The action that sets a mute or a maintenance window.

    Raises AccessError where it names no line or camera, has no end in the future, or lasts too long.
    """
    check(mute, kind, now)
    mute_id = digest_id("mute", action_id or actor, now)
    return OperatorAction(
        action_id=action_id or digest_id("set", mute_id),
        alert_id=mute_id,
        kind=kind,
        actor=actor,
        at=now,
        comment=comment,
        mute=mute,
    )


def ending(standing: Standing, actor: str, now: datetime) -> OperatorAction:
    """The action that ends it at `now`; the same person ending it twice is one action."""
    return OperatorAction(
        action_id=digest_id("end", standing.mute_id, actor),
        alert_id=standing.mute_id,
        kind=ActionKind.END_MUTE,
        actor=actor,
        at=now,
    )


def check(mute: Mute, kind: ActionKind, now: datetime) -> None:
    """See `setting`."""
    longest = LONGEST_MUTE if kind is ActionKind.MUTE else LONGEST_WINDOW
    if mute.line is None and mute.camera is None:
        raise AccessError("name a line or a camera: nobody may hold back the alerts of all of them")
    if mute.ends_at <= max(now, mute.starts_at):
        raise AccessError(f"ends_at is {mute.ends_at:%Y-%m-%d %H:%M:%S} UTC, which is over or before it starts")
    if mute.ends_at - now > longest:
        raise AccessError(
            f"ends_at is {mute.ends_at:%Y-%m-%d %H:%M} UTC, but "
            + (
                "a mute lasts 8 hours at most; an engineer may set a maintenance window"
                if kind is ActionKind.MUTE
                else "a maintenance window ends within 14 days; set the next one later"
            )
        )


def utc_now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


def _note(record: Any, book: MuteBook) -> None:
    if record.value is None:
        return
    try:
        book.apply(decode(OperatorAction, record.value))
    except SightlineError as error:
        log.warning("skipped a record that is no action", extra={"offset": record.offset, "error": str(error)})
