"""What operators do about alerts, as events on `operator-actions`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import uuid4

import msgspec

from console.api.problems import reused_key
from console.api.store import Store, as_text, now
from sightline import codec
from sightline.contracts import OperatorAction
from sightline.errors import BrokerError
from sightline.kafka_refusal import refusal
from sightline.settings import KafkaSettings

log = logging.getLogger(__name__)

KEPT_HOURS = 24
"""How long an idempotency key is remembered, and an action is shown from here until the tables have it."""

_SEND_SECONDS = 10.0
_ACTION = "SELECT * FROM actions WHERE action_id = ?"


class ActionSink(Protocol):
    """Takes an action, for good once `send` returns; raises BrokerError when it cannot."""

    def send(self, action: OperatorAction) -> None: ...


class KafkaActions:
    """Delivery: at least once, acknowledged by the broker before `send` returns; a repeat has the same `action_id`."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._lock = threading.Lock()
        self._producer: Any = None

    def send(self, action: OperatorAction) -> None:
        """Raises BrokerError when the broker does not take it within seconds."""
        from confluent_kafka import KafkaException

        answers: list[Any] = []
        topic = self._kafka.topics.operator_actions
        try:
            with self._lock:
                producer = self._opened()
                producer.produce(
                    topic,
                    value=codec.encode(action),
                    key=action.alert_id.encode(),
                    headers=codec.event_headers(action, action.action_id),
                    on_delivery=lambda error, _: answers.append(error),
                )
                producer.flush(_SEND_SECONDS + 1)
        except (KafkaException, BufferError) as error:
            raise self._lost(str(error)) from error
        if not answers or answers[0] is not None:
            refused = refusal(self._kafka, *answers, topic=topic, operation="write") if answers else None
            raise refused or self._lost(answers[0].str() if answers else "no answer")

    def _opened(self) -> Any:
        from confluent_kafka import Producer

        if self._producer is None:
            keys = self._kafka.librdkafka(
                **{"enable.idempotence": True, "message.timeout.ms": int(_SEND_SECONDS * 1000), "linger.ms": 0}
            )
            self._producer = Producer(keys, logger=log)
        return self._producer

    def _lost(self, why: str) -> BrokerError:
        return BrokerError(
            f"the broker at {self._kafka.bootstrap} did not take the action ({why}); nothing was recorded, try again"
        )


class Actions:
    """Hands actions to `sink` once, however often a button was pressed."""

    def __init__(self, store: Store, sink: ActionSink) -> None:
        self._store = store
        self._sink = sink

    def take(
        self, make: Callable[[str], OperatorAction], *asked: str, actor: str, idempotency_key: str | None
    ) -> tuple[OperatorAction, bool]:
        """The action that `make` gives for an id, and whether it is new; `asked` is all of the request that matters.

        The same key from the same actor gives the same action. Raises Problem 409 when that key came with another
        request before, BrokerError when the broker does not take it: the same request may then be sent again.
        """
        action_id = codec.digest_id("action", actor, idempotency_key or uuid4().hex)
        request = codec.digest_id(*asked)
        with self._store.open() as connection:
            connection.execute("DELETE FROM actions WHERE at < ?", (as_text(now() - timedelta(hours=KEPT_HOURS)),))
            if (row := connection.execute(_ACTION, (action_id,)).fetchone()) is None:
                action = make(action_id)
                connection.execute(
                    "INSERT OR IGNORE INTO actions VALUES (?, ?, ?, ?, ?, 0)",
                    (action_id, action.alert_id, request, codec.encode(action), as_text(action.at)),
                )
                # of two at once the first counts
                row = connection.execute(_ACTION, (action_id,)).fetchone()
        if row["asked"] != request:
            raise reused_key(str(idempotency_key))
        # the first one's time: the table's day is part of what makes it the same row
        action = codec.decode(OperatorAction, row["event"])
        if row["sent"]:
            return action, False
        self._sink.send(action)
        with self._store.open() as connection:
            connection.execute("UPDATE actions SET sent = 1 WHERE action_id = ?", (action.action_id,))
        return action, True

    def send(self, action: OperatorAction) -> None:
        """Hand on what is no answer to an alert; raises BrokerError when the broker does not take it."""
        self._sink.send(action)

    def recent(self, alert_id: str) -> list[OperatorAction]:
        """What was sent from here about an alert, which the tables may not have yet."""
        with self._store.open() as connection:
            found = connection.execute("SELECT event FROM actions WHERE alert_id = ? AND sent", (alert_id,))
            return [codec.decode(OperatorAction, row["event"]) for row in found]


def merged(stored: list[dict[str, Any]], recent: list[OperatorAction]) -> list[dict[str, Any]]:
    """Actions of the table and of the last hours, each once, the oldest first."""
    found = {action.action_id: _fields(action) for action in recent}
    found |= {row["action_id"]: row for row in stored}
    return sorted(found.values(), key=_time)


def _fields(action: OperatorAction) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(action, builtin_types=(bytes, datetime))
    return fields


def _time(row: dict[str, Any]) -> datetime:
    time: datetime = row["at"]
    return time
