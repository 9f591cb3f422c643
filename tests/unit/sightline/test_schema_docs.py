"""The generated documents are in step with the contracts, and real records are valid by them."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from sightline import codec, samples, schema_docs
from sightline.contracts import CameraEventKind, DropReason, Verdict

DOCS = Path(__file__).parents[3] / "docs"
EVENTS = {
    "inspection": [samples.inspection(), samples.inspection(score=0.9, verdict=Verdict.DEFECT, label="dent")],
    "shadow-inspection": [
        samples.shadow_inspection(score=0.9, verdict=Verdict.DEFECT, label="dent"),
        samples.shadow_inspection(error="scores that are not finite"),
    ],
    "alert": [samples.alert(), samples.alert(revision=3)],
    "operator-action": [samples.operator_action()],
    "camera-event": [
        samples.camera_event(kind=CameraEventKind.HEARTBEAT),
        samples.camera_event(first=1, last=9, reason=DropReason.QUEUE_FULL),
    ],
}


def schema(name: str) -> dict:
    return json.loads((DOCS / "schemas" / f"{name}.json").read_text())


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema(name))


def test_the_committed_files_are_what_the_contracts_give() -> None:
    for name, text in schema_docs.documents().items():
        assert (DOCS / name).read_text() == text, "run `python -m sightline.schema_docs docs` and commit what changed"


def test_no_file_is_left_over_from_an_earlier_contract() -> None:
    generated = set(schema_docs.documents())
    assert {f"schemas/{file.name}" for file in (DOCS / "schemas").iterdir()} | {"asyncapi.yaml"} == generated


@pytest.mark.parametrize("name", [file.stem for file in sorted((DOCS / "schemas").glob("*.json"))])
def test_every_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize(("name", "event"), [(name, event) for name, events in EVENTS.items() for event in events])
def test_real_events_are_valid(name: str, event) -> None:
    validator(name).validate(json.loads(codec.encode(event)))


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("frame-headers", codec.frame_headers(samples.frame(label="good"))),
        ("frame-headers", codec.frame_headers(samples.frame("cam-2", 9))),
        ("dead-letter-headers", codec.dead_letter_headers(samples.dead_letter())),
        ("event-headers", codec.event_headers(samples.inspection(), "x")),
    ],
)
def test_real_headers_are_valid(name: str, headers: codec.Headers) -> None:
    validator(name).validate({key: value.decode() for key, value in headers})


@pytest.mark.parametrize(
    ("field", "value"),
    [("verdict", "perhaps"), ("captured_at", 7), ("sequence", "7"), ("detector", None), ("score", "high")],
)
def test_an_event_that_breaks_the_contract_is_not_valid(field: str, value) -> None:
    event = json.loads(codec.encode(samples.inspection())) | {field: value}
    with pytest.raises(jsonschema.ValidationError):
        validator("inspection").validate(event)


def test_the_asyncapi_document_hangs_together() -> None:
    document = yaml.safe_load((DOCS / "asyncapi.yaml").read_text())
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= document["info"].keys()
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses >= {"frames", "frames.dead-letter", "inspections", "alerts", "camera-events", "operator-actions"}
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert operation["channel"]["$ref"].removeprefix("#/channels/") in document["channels"]
    references = list(_references(document))
    assert references
    for reference in references:
        found = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        assert found


def _references(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for inner in node.values():
            yield from _references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _references(inner)


def test_times_are_marked_as_times() -> None:
    assert schema("inspection")["properties"]["captured_at"] == {"type": "string", "format": "date-time"}
    published = schema("inspection")["$defs"]["Timings"]["properties"]["published_at"]
    assert {"type": "string", "format": "date-time"} in published["anyOf"]
