"""One frame's trace, from the mark on its record to spans that a real OTLP receiver took."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sightline import codec, samples
from sightline.traces import (
    Mark,
    Tracer,
    TraceSettings,
    mark_headers,
    mark_of,
    marked,
    open_tracer,
    passed_on,
)
from streaming.spans import IncidentSpans

AT = datetime(2026, 3, 2, 6, 30, tzinfo=UTC)


@pytest.fixture
def told() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(told: InMemorySpanExporter) -> Tracer:
    return Tracer(SimpleSpanProcessor(told))


def test_a_mark_is_the_same_in_a_replay_and_travels_in_headers() -> None:
    frame = samples.frame(sequence=7)
    mark = mark_of(frame)
    assert mark == mark_of(samples.frame(sequence=7)) != mark_of(samples.frame(sequence=8))
    headers = [*codec.frame_headers(frame), *mark_headers(mark)]
    assert dict(headers)["ce_traceparent"] == dict(headers)["traceparent"] == mark.header
    assert marked(headers) == mark
    # what follows from the record takes the mark along, and nothing else
    assert passed_on(headers) == mark_headers(mark)
    # and a frame that carries one is still a frame
    assert codec.frame_from_record(frame.jpeg, headers) == frame


@pytest.mark.parametrize(
    "value",
    [
        b"", b"garbage", b"\xff\xfe", b"00-" + b"0" * 32 + b"-" + b"1" * 16 + b"-01",
        b"00-" + b"a" * 32 + b"-" + b"1" * 16 + b"-00", b"00-" + b"A" * 32 + b"-" + b"1" * 16 + b"-01", None,
    ],
)  # fmt: skip
def test_a_mark_that_is_none_is_passed_over(value: bytes | None) -> None:
    assert marked([("traceparent", value)]) is None
    assert marked(None) is None


def test_the_root_is_what_the_others_hang_on(tracer: Tracer, told: InMemorySpanExporter) -> None:
    mark = Mark(trace=3, span=5)
    tracer.span("producers", "capture", mark, AT, AT + timedelta(milliseconds=8), {"camera": "a"}, root=True)
    tracer.span("producers", "publish frame", mark, AT + timedelta(milliseconds=8), AT, {"camera": "a"})
    root, child = told.get_finished_spans()
    assert (root.context.trace_id, root.context.span_id, root.parent) == (3, 5, None)
    assert (child.context.trace_id, child.parent and child.parent.span_id) == (3, 5)
    assert child.context.span_id != 5
    assert (root.start_time, root.end_time) == (1772433000_000_000_000, 1772433000_008_000_000)
    assert child.end_time == child.start_time, "clocks of two hosts must not make a span that ends before it begins"
    assert root.resource.attributes["service.name"] == "sightline-producers"
    assert root.attributes == {"sightline.camera": "a"}


def test_spans_of_a_verdict_are_its_own_times(tracer: Tracer, told: InMemorySpanExporter) -> None:
    seen = samples.inspection()
    times = replace(
        seen.timings,
        ingested_at=AT,
        decoded_at=AT + timedelta(milliseconds=30),
        scored_at=AT + timedelta(milliseconds=50),
    )
    spans = IncidentSpans(tracer)
    spans.folded(Mark(1, 2), replace(seen, timings=times), AT + timedelta(milliseconds=55))
    assert not told.get_finished_spans(), "nothing is told of a transaction that may yet fail"
    spans.committed()
    found = {span.name: span for span in told.get_finished_spans()}
    lasted = {
        name: (span.end_time - span.start_time) / 1e6
        for name, span in found.items()
        if span.end_time and span.start_time
    }
    assert lasted.pop("incident") > 0
    assert lasted == {"queue and decode": 30, "score": 20, "publish verdict": 5}
    services = {name: span.resource.attributes["service.name"] for name, span in found.items()}
    assert services["score"] == "sightline-score" != services["incident"]
    spans.committed()
    assert len(told.get_finished_spans()) == 4


def test_traces_are_off_unless_they_are_asked_for() -> None:
    assert open_tracer(TraceSettings.load()) is None
    spans = IncidentSpans(None)
    assert not spans.wanted


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[Any]]]:
    """An OTLP/HTTP receiver on a free port, and the requests that it took."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    taken: list[Any] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            taken.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", taken
        server.shutdown()
        thread.join()


def test_a_real_receiver_gets_the_spans(receiver: tuple[str, list[Any]]) -> None:
    endpoint, taken = receiver
    tracer = open_tracer(TraceSettings.load(sample_every=10, endpoint=endpoint))
    assert tracer is not None
    mark = mark_of(samples.frame())
    tracer.span("producers", "capture", mark, AT, AT + timedelta(seconds=1), {"sequence": 0}, root=True)
    tracer.close()
    ((path, request),) = taken
    assert path == "/v1/traces"
    (resource,) = request.resource_spans
    assert {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"] == (
        "sightline-producers"
    )
    (span,) = resource.scope_spans[0].spans
    assert (span.name, span.trace_id.hex()) == ("capture", f"{mark.trace:032x}")
    assert span.end_time_unix_nano - span.start_time_unix_nano == 1_000_000_000
