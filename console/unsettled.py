"""What the broker's `frames` topic holds and no table does: read by header, and only there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sightline.codec import identity_from_headers
from sightline.consumer import open_consumer
from sightline.errors import BrokerError
from sightline.settings import KafkaSettings

_CONNECT_SECONDS = 4.0
_SILENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Record:
    """One record of `frames`; camera and sequence are None where its headers do not tell."""

    partition: int
    offset: int
    camera: str | None
    sequence: int | None


class FrameTopic:
    """The `frames` topic as it stood when this was opened: later records are not looked at.

    `bounds` are the offsets [begin, end) of each partition of `name`. Raises BrokerError when no broker answers or the
    topic does not exist.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        from kafka.errors import KafkaError

        self.name = settings.topics.frames
        self._address = settings.bootstrap
        self._consumer = open_consumer(settings, connect_seconds=_CONNECT_SECONDS, client_id="sightline-verify")
        try:
            self._partitions = self._assign()
            self.bounds = self._offsets()
        except KafkaError as error:
            self.close()
            raise BrokerError(f"the broker at {self._address} cannot be asked about {self.name!r}: {error}") from error
        except BrokerError:
            self.close()
            raise

    def read(self, spans: Sequence[tuple[int, int, int]]) -> Iterator[Record]:
        """The records in spans (partition, first offset, last offset) inside the bounds, pixels left aside.

        Raises BrokerError when the broker falls silent.
        """
        for partition, first, last in spans:
            yield from self._read_span(partition, first, last)

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close(autocommit=False)

    def _assign(self) -> Mapping[int, Any]:
        from kafka import TopicPartition

        partitions = {n: TopicPartition(self.name, n) for n in self._consumer.partitions_for_topic(self.name)}
        if not partitions:
            raise BrokerError(f"the broker at {self._address} has no topic {self.name!r}")
        return partitions

    def _offsets(self) -> Mapping[int, tuple[int, int]]:
        begins = self._consumer.beginning_offsets(list(self._partitions.values()))
        ends = self._consumer.end_offsets(list(self._partitions.values()))
        return {n: (begins[partition], ends[partition]) for n, partition in self._partitions.items()}

    def _read_span(self, number: int, first: int, last: int) -> Iterator[Record]:
        from kafka.errors import KafkaError

        partition = self._partitions[number]
        self._consumer.assign([partition])
        self._consumer.seek(partition, first)
        heard = time.monotonic()
        while self._consumer.position(partition) <= last:
            try:
                batches = self._consumer.poll(timeout_ms=500)
            except KafkaError as error:
                raise BrokerError(
                    f"the broker at {self._address} failed while {self.name!r} was read: {error}"
                ) from error
            if batches:
                heard = time.monotonic()
            elif time.monotonic() - heard > _SILENCE_SECONDS:
                raise BrokerError(
                    f"the broker at {self._address} fell silent at offset {self._consumer.position(partition)} of "
                    f"partition {number} of {self.name!r}; is it still running?"
                )
            for record in batches.get(partition, ()):
                if record.offset <= last:
                    yield Record(number, record.offset, *identity_from_headers(record.headers))
