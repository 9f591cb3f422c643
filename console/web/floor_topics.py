"""The floor's sources in Kafka: verdicts, reports and actions as they come, and now and then the end of `frames`."""

from __future__ import annotations

import logging
import time
from typing import Any

import msgspec

from console.web.floor import Picture, Seen, Told
from sightline import codec
from sightline.consumer import open_consumer
from sightline.contracts import CameraEvent, Frame, OperatorAction
from sightline.errors import BrokerError, FrameError, SightlineError
from sightline.settings import KafkaSettings

log = logging.getLogger(__name__)

WIDTH = 320
"""Of a small picture, at least half and at most this, in pixels."""

_CONNECT_SECONDS = 5.0
_BEHIND = 5000
"""Records that may wait; a wall that fell further behind goes on at the end."""
_RECENT_ACTIONS = 2000
_MOST_FRAMES = 400
_SAMPLE_SECONDS = 3.0
_FETCH_BYTES = 16 * 1024 * 1024
_decoder = msgspec.json.Decoder(Seen)


class FloorTopics:
    """Delivery: what comes after the start, at most once; of actions, the last ones before it too."""

    def __init__(self, kafka: KafkaSettings) -> None:
        """Connects at once; raises BrokerError when no broker answers or a topic does not exist."""
        topics = kafka.topics
        self._kafka = kafka
        self._inspections, self._actions, self._events = (
            topics.inspections,
            topics.operator_actions,
            topics.camera_events,
        )
        self._consumer = open_consumer(
            kafka,
            connect_seconds=_CONNECT_SECONDS,
            client_id="sightline-wall",
            isolation_level="read_committed",
            check_crcs=False,
            fetch_max_bytes=_FETCH_BYTES,
            max_poll_records=2000,
        )
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def poll(self, seconds: float) -> list[Told]:
        """What came, possibly nothing, after at most about `seconds`; raises BrokerError when the broker is gone."""
        from kafka.errors import KafkaError

        try:
            batches = self._consumer.poll(timeout_ms=int(seconds * 1000))
            if time.monotonic() - self._checked > 2:
                self._check()
        except KafkaError as error:
            raise _gone(self._kafka, error) from error
        return [told for batch in batches.values() for record in batch if (told := self._read(record)) is not None]

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close(autocommit=False)

    def _begin(self) -> None:
        from kafka import TopicPartition
        from kafka.errors import KafkaError

        try:
            partitions = []
            for topic in (self._inspections, self._actions, self._events):
                known = self._consumer.partitions_for_topic(topic)
                if not known:
                    raise _no_topic(self._kafka, topic)
                partitions += [TopicPartition(topic, number) for number in known]
            self._consumer.assign(partitions)
            ends = self._consumer.end_offsets(partitions)
            begins = self._consumer.beginning_offsets(partitions)
            for partition, end in ends.items():
                back = _RECENT_ACTIONS if partition.topic == self._actions else 0
                self._consumer.seek(partition, max(begins[partition], end - back))
        except KafkaError as error:
            raise _gone(self._kafka, error) from error
        self._checked = time.monotonic()

    def _check(self) -> None:
        """Ask whether the broker is still there, which poll() does not tell, and skip what is too far behind."""
        partitions = [part for part in self._consumer.assignment() if part.topic == self._inspections]
        for partition, end in self._consumer.end_offsets(partitions, timeout_ms=3000).items():
            if end - self._consumer.position(partition) > _BEHIND:
                self._consumer.seek(partition, end)
        self._checked = time.monotonic()

    def _read(self, record: Any) -> Told | None:
        if record.value is None:
            return None
        try:
            if record.topic == self._inspections:
                return _decoder.decode(record.value)
            if record.topic == self._actions:
                return codec.decode(OperatorAction, record.value)
            return codec.decode(CameraEvent, record.value)
        except (msgspec.DecodeError, SightlineError) as error:
            where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            log.warning("skipped a record that is not of its kind", extra={**where, "error": str(error)})
            return None


class FrameTails:
    """The last frame of each camera, read at the ends of the partitions when asked; the rest is left unread."""

    def __init__(self, kafka: KafkaSettings) -> None:
        """Connects at once; raises BrokerError as FloorTopics does."""
        self._kafka = kafka
        self._consumer = open_consumer(
            kafka,
            connect_seconds=_CONNECT_SECONDS,
            client_id="sightline-wall-pictures",
            check_crcs=False,
            fetch_max_bytes=_FETCH_BYTES,
        )
        self._done: dict[Any, int] = {}
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def sample(self, cameras: int) -> list[Picture]:
        """The newest picture of each camera among the last records, when `cameras` send; raises BrokerError."""
        from kafka.errors import KafkaError

        wanted = min(_MOST_FRAMES, 4 + 3 * cameras // len(self._partitions))
        found: dict[str, Frame] = {}
        try:
            ends = self._consumer.end_offsets(self._partitions)
            begins = self._consumer.beginning_offsets(self._partitions)
            for partition, end in ends.items():
                self._consumer.seek(partition, max(begins[partition], end - wanted, self._done.get(partition, 0)))
            deadline = time.monotonic() + _SAMPLE_SECONDS
            while time.monotonic() < deadline and any(self._consumer.position(part) < ends[part] for part in ends):
                for batch in self._consumer.poll(timeout_ms=200).values():
                    for record in batch:
                        if (frame := _frame(record)) is not None:
                            found[frame.camera] = frame
        except KafkaError as error:
            raise _gone(self._kafka, error) from error
        self._done = ends
        return [picture for frame in found.values() if (picture := _small(frame)) is not None]

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close(autocommit=False)

    def _begin(self) -> None:
        from kafka import TopicPartition
        from kafka.errors import KafkaError

        topic = self._kafka.topics.frames
        try:
            known = self._consumer.partitions_for_topic(topic)
            if not known:
                raise _no_topic(self._kafka, topic)
            self._partitions = [TopicPartition(topic, number) for number in known]
            self._consumer.assign(self._partitions)
        except KafkaError as error:
            raise _gone(self._kafka, error) from error


def _frame(record: Any) -> Frame | None:
    try:
        return codec.frame_from_record(record.value, record.headers)
    except FrameError:
        return None  # a dead letter by now; its camera's next frame will do


def _small(frame: Frame) -> Picture | None:
    import simplejpeg

    try:
        # the header first: what it claims decides how much memory decoding takes
        height, width, *_ = simplejpeg.decode_jpeg_header(frame.jpeg)
        if width * height > 64_000_000:
            return None
        factor = min(1.0, WIDTH / width)
        pixels = simplejpeg.decode_jpeg(
            frame.jpeg,
            "RGB",
            fastdct=True,
            fastupsample=True,
            min_height=int(height * factor * 0.75),
            min_width=int(width * factor * 0.75),
            min_factor=1,
        )
        jpeg = simplejpeg.encode_jpeg(pixels, quality=72, colorspace="RGB", colorsubsampling="420")
    except (ValueError, KeyError):
        # truncated, no JPEG, or of a kind that the library has no name for: the score query says so in a dead letter
        return None
    return Picture(camera=frame.camera, sequence=frame.sequence, captured_at=frame.captured_at, jpeg=jpeg)


def _gone(kafka: KafkaSettings, error: Exception) -> BrokerError:
    return BrokerError(f"the Kafka broker at {kafka.bootstrap} does not answer ({error}); start it, or wait")


def _no_topic(kafka: KafkaSettings, topic: str) -> BrokerError:
    return BrokerError(
        f"the broker at {kafka.bootstrap} has no topic {topic!r}; create the topics with `sightline topics`"
    )
