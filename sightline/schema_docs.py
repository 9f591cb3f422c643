"""JSON Schema of every record and an AsyncAPI document of every topic, generated from the contracts.

`python -m sightline.schema_docs docs` writes `docs/schemas/*.json` and `docs/asyncapi.yaml`. Nothing in them is written
by hand; a test holds the committed files equal to what this gives.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from sightline import codec, contracts, samples
from sightline.contracts import SCHEMA_VERSION, Alert, CameraEvent, Event, Inspection, OperatorAction, ShadowInspection
from sightline.settings import Topics

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Schema = {"type": "string"}
_EXAMPLES: Mapping[str, Event] = {
    "inspection": samples.inspection(verdict=contracts.Verdict.DEFECT, score=0.81),
    "shadow-inspection": samples.shadow_inspection(verdict=contracts.Verdict.DEFECT, score=0.77),
    "alert": samples.alert(),
    "operator-action": samples.operator_action(),
    "camera-event": samples.camera_event(first=96, last=127, reason=contracts.DropReason.QUEUE_FULL),
}
"""One event of each kind that travels as JSON, by the name of its schema."""


def event_schemas(template: str = "#/$defs/{name}") -> dict[str, Schema]:
    """JSON Schemas of the events and all that they consist of, by class name; `template` writes the references."""
    _, parts = msgspec.json.schema_components([type(event) for event in _EXAMPLES.values()], ref_template=template)
    return {name: _finished(name, schema) for name, schema in parts.items()}


def header_schemas() -> dict[str, Schema]:
    """What stands in the headers of records whose value is not JSON, or beside it, by name."""
    frame = codec.frame_headers(samples.frame(label="good"))
    letter = samples.dead_letter()
    verdict = [("sightline.verdict", b"defect"), ("sightline.inspection_id", b"5ce7d30832a03f1c9912a34b4da26c66")]
    added = codec.dead_letter_headers(letter)[len(letter.headers) :]
    return {
        "frame-headers": _headers("Headers of a frame; its value is the JPEG", frame, optional={"ce_label"}),
        "archived-frame-headers": _headers(
            "Headers of an archived frame: the frame's own, and its verdict", [*frame, *verdict], optional={"ce_label"}
        ),
        "dead-letter-headers": _headers(
            "Headers that a dead letter has after the original ones, in the shape of Kafka Connect", added
        ),
        "event-headers": _headers(
            "Headers of an event whose value is JSON", _event_headers(), fixed=_FIXED - {"ce_type"}
        ),
    }


_FIXED = frozenset({"ce_specversion", "ce_type", "content-type"})


def _event_headers() -> codec.Headers:
    return codec.event_headers(samples.alert(), samples.alert().alert_id)


def _headers(
    title: str,
    headers: Iterable[tuple[str, bytes]],
    *,
    optional: frozenset[str] | set[str] = frozenset(),
    fixed: frozenset[str] = _FIXED,
) -> Schema:
    found = {name: value.decode() for name, value in headers}
    return {
        "title": title,
        "type": "object",
        "properties": {
            name: _TEXT | ({"const": value} if name in fixed else {"examples": [value]})
            for name, value in found.items()
        },
        "required": [name for name in found if name not in optional],
    }


def _finished(name: str, schema: Schema) -> Schema:
    """msgspec's schema with the description on one line and the format of times."""
    kind = getattr(contracts, name)
    schema["description"] = " ".join((inspect.getdoc(kind) or name).split())
    hints = get_type_hints(kind) if "properties" in schema else {}
    for field, hint in hints.items():
        if datetime in (hint, *get_args(hint)):
            property_ = schema["properties"][field]
            for choice in property_.get("anyOf", [property_]):
                if choice["type"] == "string":
                    choice["format"] = "date-time"
    return schema


def json_schemas() -> dict[str, Schema]:
    """One self-contained document for each kind of record, by file name without ending."""
    parts = event_schemas()
    documents = {}
    for name, event in _EXAMPLES.items():
        root = type(event).__name__
        needed = _reachable(root, parts)
        documents[name] = {
            "$schema": _DIALECT,
            "$id": f"urn:sightline:{name}:v{SCHEMA_VERSION}",
            **parts[root],
            "examples": [json.loads(codec.encode(event))],
            "$defs": {part: parts[part] for part in sorted(needed - {root})},
        }
    for name, schema in header_schemas().items():
        documents[name] = {"$schema": _DIALECT, "$id": f"urn:sightline:{name}:v{SCHEMA_VERSION}", **schema}
    return documents


def _reachable(root: str, parts: Mapping[str, Schema]) -> set[str]:
    found, todo = set(), [root]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            text = json.dumps(parts[name])
            todo += [part for part in parts if f'"#/$defs/{part}"' in text]
    return found


def asyncapi() -> Schema:
    """The AsyncAPI 3.0 document: a channel for each public topic, seen from a Sightline deployment."""
    topics = Topics()
    camera, alert = "Camera", "The alert's alert_id, in the partition of its camera"
    channels = {
        "frames": _channel(topics.frames, "frame", "Pictures to be judged; whoever publishes here is a camera"),
        "deadLetters": _channel(topics.dead_letters, "deadLetter", "Records that could not be judged, untouched"),
        "archive": _channel(topics.archive, "archivedFrame", "Frames kept by policy: every defect and review"),
        "inspections": _channel(topics.inspections, "inspection", "A verdict for every frame, at least once"),
        "shadowInspections": _channel(
            topics.shadow, "shadowInspection", "What challengers say of frames; nothing follows from it"
        ),
        "alerts": _channel(topics.alerts, "alert", "Incidents; read committed records only. Compacted by alert_id"),
        "operatorActions": _channel(topics.operator_actions, "operatorAction", "What people said about alerts"),
        "cameraEvents": _channel(
            topics.camera_events, "cameraEvent", "Health of cameras, and frames that were dropped"
        ),
    }
    messages = {
        "frame": _message("Frame", "image/jpeg", camera, None, "frame-headers"),
        "deadLetter": _message("Dead letter", "application/octet-stream", camera, None, "dead-letter-headers"),
        "archivedFrame": _message("Archived frame", "image/jpeg", camera, None, "archived-frame-headers"),
        "inspection": _message("Inspection", "application/json", camera, Inspection),
        "shadowInspection": _message("Shadow inspection", "application/json", camera, ShadowInspection),
        "alert": _message("Alert", "application/json", alert, Alert),
        "operatorAction": _message("Operator's action", "application/json", "The alert's alert_id", OperatorAction),
        "cameraEvent": _message("Camera event", "application/json", camera, CameraEvent),
    }
    received = ("frames", "operatorActions", "cameraEvents")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Sightline",
            "version": f"{SCHEMA_VERSION}.0.0",
            "description": "Topics of a Sightline deployment. Names may have a prefix ([kafka] topic_prefix); records "
            "follow CloudEvents 1.0.2 in the binary mode of its Kafka binding.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {
            ("receive" if name in received else "send") + name[0].upper() + name[1:]: {
                "action": "receive" if name in received else "send",
                "channel": {"$ref": f"#/channels/{name}"},
            }
            for name in channels
        },
        "components": {
            "messages": messages,
            "schemas": event_schemas("#/components/schemas/{name}") | header_schemas(),
        },
    }


def _channel(address: str, message: str, description: str) -> Schema:
    return {
        "address": address,
        "description": description,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
    }


def _message(
    title: str, content_type: str, key: str, event: type[Event] | None, headers: str = "event-headers"
) -> Schema:
    payload = {"$ref": f"#/components/schemas/{event.__name__}"} if event else _TEXT | {"format": "binary"}
    return {
        "title": title,
        "contentType": content_type,
        "headers": {"$ref": f"#/components/schemas/{headers}"},
        "payload": payload,
        "bindings": {"kafka": {"key": _TEXT | {"description": key}}},
    }


def documents() -> dict[str, str]:
    """Every generated file's text, by its path below the documents' folder. Needs PyYAML."""
    import yaml

    files = {
        f"schemas/{name}.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in json_schemas().items()
    }
    heading = "# Generated by `python -m sightline.schema_docs docs`; do not edit.\n"
    # anchors and aliases would save lines and cost readers
    plain = json.loads(json.dumps(asyncapi()))
    files["asyncapi.yaml"] = heading + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110)
    return files


def main() -> None:
    """Write all documents into the folder that is given, `docs` by default."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    for name, text in documents().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
