"""Traces of sampled frames for OpenTelemetry: one frame in N of each camera, from capture to its table.

A producer marks a sampled frame with the W3C header `traceparent` (and `ce_traceparent`, CloudEvents' distributed
tracing extension); whoever handles the record copies it on. Spans are built from times that are recorded anyway, after
the fact: a frame that is not sampled costs one division, and no process waits for the collector.

Trace and root span are digests of camera, sequence and capture time, so that a replay tells of the same trace. The
spans of `score` are told by the incident process, which is the first to know when its verdict was on the topic.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from sightline import __version__, codec
from sightline.contracts import Frame
from sightline.errors import PrerequisiteError
from sightline.settings import Section

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

log = logging.getLogger(__name__)

HEADER = "traceparent"
CLOUDEVENTS_HEADER = "ce_traceparent"

_FORM = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class TraceSettings(Section):
    """Which frames are traced, and where their spans go; off by default."""

    section: ClassVar[str] = "traces"

    sample_every: Annotated[int, Field(ge=0)] = 0
    """One frame in so many of each camera is traced, 0 for none. Set it at the producers; the other processes tell
    their spans of frames that come marked, where it is above 0."""
    endpoint: str = "http://127.0.0.1:4318/v1/traces"
    """An OTLP/HTTP receiver, such as an OpenTelemetry collector, Jaeger or Tempo."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A frame's place in its trace: `span` is the root, the parent of all others."""

    trace: int
    span: int

    @property
    def header(self) -> bytes:
        """As W3C writes it, sampled."""
        return f"00-{self.trace:032x}-{self.span:016x}-01".encode()


def mark_of(frame: Frame) -> Mark:
    """The mark of a frame, the same each time."""
    digest = codec.digest_id("trace", frame.camera, frame.sequence, frame.captured_at)
    # neither may be 0
    return Mark(int(digest, 16) or 1, int(digest[:16], 16) or 1)


def marked(headers: Iterable[tuple[str, bytes | None]] | None) -> Mark | None:
    """The mark that a record carries; None without a sound one, or where it was not sampled."""
    for name, value in headers or ():
        if name == HEADER and value is not None and (found := _FORM.fullmatch(value)):
            trace, span = int(found[1], 16), int(found[2], 16)
            return Mark(trace, span) if trace and span and int(found[3], 16) & 1 else None
    return None


def mark_headers(mark: Mark) -> codec.Headers:
    """The two headers of a marked record."""
    return [(HEADER, mark.header), (CLOUDEVENTS_HEADER, mark.header)]


def passed_on(headers: Iterable[tuple[str, bytes | None]] | None) -> codec.Headers:
    """The headers that a record made from this one takes along."""
    return [(name, value) for name, value in headers or () if name in (HEADER, CLOUDEVENTS_HEADER) and value]


Fact = str | int | float | bool


class Tracer:
    """Tells spans that are over, of one process; everything is sent from a thread that may drop what is too much."""

    def __init__(self, processor: SpanProcessor) -> None:
        self._processor = processor
        self._resources: dict[str, Any] = {}

    def span(
        self,
        service: str,
        name: str,
        mark: Mark,
        begin: datetime,
        end: datetime,
        facts: Mapping[str, Fact],
        *,
        root: bool = False,
    ) -> None:
        """A span of `service` below the frame's root, or the root itself; one that seems to end early has no length."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

        sampled = TraceFlags(TraceFlags.SAMPLED)
        parent = SpanContext(mark.trace, mark.span, is_remote=True, trace_flags=sampled)
        own = SpanContext(mark.trace, mark.span if root else secrets.randbits(64) or 1, False, trace_flags=sampled)
        self._processor.on_end(
            ReadableSpan(
                name=name,
                context=own,
                parent=None if root else parent,
                resource=self._resource(service),
                attributes={f"sightline.{key}": value for key, value in facts.items()},
                kind=SpanKind.INTERNAL,
                start_time=_nanoseconds(begin),
                end_time=_nanoseconds(max(begin, end)),
            )
        )

    def close(self) -> None:
        """Send what waits, for some seconds at most."""
        self._processor.shutdown()

    def _resource(self, service: str) -> Any:
        from opentelemetry.sdk.resources import Resource

        if service not in self._resources:
            facts = {"service.name": f"sightline-{service}", "service.version": __version__}
            self._resources[service] = Resource.create(facts)
        return self._resources[service]


def open_tracer(settings: TraceSettings) -> Tracer | None:
    """A tracer that sends to the configured receiver; None where traces are off.

    Raises PrerequisiteError when OpenTelemetry is not installed.
    """
    if not settings.sample_every:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise PrerequisiteError(
            f"[traces] sample_every = {settings.sample_every} needs OpenTelemetry ({error.name} is missing): "
            "pip install 'sightline[traces]', or set it to 0"
        ) from error
    log.info("traces", extra={"endpoint": settings.endpoint, "sample_every": settings.sample_every})
    return Tracer(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.endpoint, timeout=5)))


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000
