"""Contracts to records and back, and a reason for every record that is none."""

from __future__ import annotations

import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline import codec, samples
from sightline.contracts import Alert, CameraEvent, Frame, Inspection, OperatorAction, Reason, ShadowInspection, Verdict
from sightline.errors import FrameError, SightlineError

names = st.text(min_size=1, max_size=codec.MAX_NAME).filter(str.isprintable)
times = st.datetimes(
    min_value=datetime(1970, 1, 1),
    max_value=datetime(2200, 1, 1),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7))]),
)
frames = st.builds(
    Frame,
    line=names,
    camera=names,
    sequence=st.integers(0, 2**63 - 1),
    captured_at=times,
    product=names,
    width=st.integers(1, 2**16),
    height=st.integers(1, 2**16),
    jpeg=st.binary(min_size=1, max_size=64),
    label=st.none() | names,
)


@given(frames)
def test_a_frame_survives_the_way_through_kafka(frame: Frame) -> None:
    back = codec.frame_from_record(frame.jpeg, codec.frame_headers(frame))
    assert back == frame
    assert back.captured_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "event",
    [
        samples.inspection(),
        samples.shadow_inspection(verdict=Verdict.DEFECT),
        samples.shadow_inspection(error="it failed"),
        samples.alert(),
        samples.operator_action(),
        samples.camera_event(first=1, last=2),
    ],
)
def test_an_event_survives_the_way_through_kafka(event) -> None:
    assert codec.decode(type(event), codec.encode(event)) == event


@given(score=st.floats(allow_nan=False, allow_infinity=False), thumbnail=st.none() | st.binary(max_size=64))
def test_scores_and_pictures_are_kept_to_the_bit(score: float, thumbnail: bytes | None) -> None:
    inspection = replace(samples.inspection(), score=score, thumbnail=thumbnail)
    assert codec.decode(Inspection, codec.encode(inspection)) == inspection


@pytest.mark.parametrize("kind", [Inspection, ShadowInspection, Alert, OperatorAction, CameraEvent])
@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"camera": 7}'])
def test_what_is_no_event_is_refused_by_its_contract(kind, data: bytes) -> None:
    with pytest.raises(SightlineError, match=kind.__name__):
        codec.decode(kind, data)


def test_a_field_of_the_wrong_type_is_named() -> None:
    data = codec.encode(samples.alert()).replace(b'"revision":0', b'"revision":"first"')
    with pytest.raises(SightlineError, match="revision"):
        codec.decode(Alert, data)


def test_fields_of_a_later_version_are_passed_over() -> None:
    data = codec.encode(samples.alert()).replace(b"{", b'{"zone":"north",', 1)
    assert codec.decode(Alert, data) == samples.alert()


def changed(**headers: bytes | None) -> list[tuple[str, bytes | None]]:
    """Headers of a frame with some replaced, or left out where None."""
    kept = dict(codec.frame_headers(samples.frame(label="good"))) | headers
    return [(name, value) for name, value in kept.items() if value is not None]


@pytest.mark.parametrize(
    "name", ["ce_line", "ce_camera", "ce_sequence", "ce_time", "ce_product", "ce_width", "ce_height"]
)
def test_a_missing_header_is_named(name: str) -> None:
    with pytest.raises(FrameError, match=name) as caught:
        codec.frame_from_record(b"jpeg", changed(**{name: None}))
    assert caught.value.reason == Reason.MISSING_HEADER


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_camera", b""),
        ("ce_camera", b"\xff\xfe"),
        ("ce_camera", b"cam\n1"),
        ("ce_camera", b"\x1b[31m"),
        ("ce_line", b"x" * (codec.MAX_NAME + 1)),
        ("ce_label", b""),
        ("ce_sequence", b"-1"),
        ("ce_sequence", b"1.5"),
        ("ce_sequence", b" 1"),
        ("ce_sequence", "١".encode()),
        ("ce_sequence", str(2**63).encode()),
        ("ce_sequence", b"9" * 5000),
        ("ce_width", b"0"),
        ("ce_height", b"65537"),
        ("ce_time", b"yesterday"),
        ("ce_time", b"2026-03-02T06:30:00"),
        ("ce_time", b"0001-01-01T00:00:00+14:00"),
    ],
)
def test_a_bad_header_is_named(name: str, value: bytes) -> None:
    with pytest.raises(FrameError, match=name) as caught:
        codec.frame_from_record(b"jpeg", changed(**{name: value}))
    assert caught.value.reason == Reason.BAD_HEADER


@pytest.mark.parametrize("kind", [b"io.sightline.frame.v2", b"com.example.picture", b""])
def test_another_schema_is_told_apart(kind: bytes) -> None:
    with pytest.raises(FrameError, match=codec.FRAME_TYPE) as caught:
        codec.frame_from_record(b"jpeg", changed(ce_type=kind))
    assert caught.value.reason == Reason.UNKNOWN_SCHEMA


@pytest.mark.parametrize("value", [b"", None])
def test_a_record_without_bytes_is_empty(value: bytes | None) -> None:
    with pytest.raises(FrameError, match="zero length") as caught:
        codec.frame_from_record(value, changed())
    assert caught.value.reason == Reason.EMPTY


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ce_type", "ce_camera", "ce_sequence", "ce_time", "ce_width"]), st.none() | st.binary()
        )
    )
)
def test_no_headers_whatever_raise_anything_but_a_frame_error(headers) -> None:
    with pytest.raises(FrameError):
        codec.frame_from_record(b"jpeg", headers)
    camera, sequence = codec.identity_from_headers(headers)
    assert camera is None or camera.isprintable()
    assert sequence is None or sequence >= 0


@given(
    value=st.none() | st.binary(max_size=32),
    headers=st.lists(st.tuples(st.text(string.ascii_lowercase, min_size=1), st.binary(max_size=16)), max_size=4),
)
def test_a_dead_letter_keeps_the_record_untouched(value, headers) -> None:
    letter = replace(
        samples.dead_letter(None, None), value=value, key=None, headers=tuple(headers), message="ungültig: 'ÿ'"
    )
    assert codec.dead_letter_from_record(None, value, codec.dead_letter_headers(letter)) == letter


def test_a_dead_letter_says_which_frame_it_was_if_its_headers_do() -> None:
    letter = samples.dead_letter("cam-1", 41)
    back = codec.dead_letter_from_record(letter.key, letter.value, codec.dead_letter_headers(letter))
    assert (back.camera, back.sequence) == ("cam-1", 41)


def test_a_record_of_someone_else_is_no_dead_letter() -> None:
    with pytest.raises(SightlineError, match="not a dead letter"):
        codec.dead_letter_from_record(None, b"", [("ce_camera", b"cam-1")])


def test_ids_depend_on_every_part_and_on_nothing_else() -> None:
    at = samples.START
    # a change here would make every replay a second row
    assert codec.digest_id("cam-1", 7, at, "3") == "9ce20219fbbc5b8cd06e042b122bd314"
    different = {
        codec.digest_id("cam-1", 7, at, "3"),
        codec.digest_id("cam-1", 7, at, "4"),
        codec.digest_id("cam-1", 77, at, "3"),
        codec.digest_id("cam-17", 7, at, "3"),
        codec.digest_id("cam-1", 7, at + timedelta(microseconds=1), "3"),
    }
    assert len(different) == 5
