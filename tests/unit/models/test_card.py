from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.runtime.card import (
    CARD_FILE,
    GRAPH_FILE,
    REFERENCE_FILE,
    SELF_TEST_FILE,
    DetectorCard,
    bundle_digest,
    load_card,
    save_card,
)
from sightline.errors import DetectorError


def test_a_card_comes_back_as_it_was(card: DetectorCard, tmp_path: Path) -> None:
    save_card(card, tmp_path)
    assert load_card(tmp_path) == card


def test_a_missing_card_names_the_file_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"detector\.json cannot be read.*sightline train"):
        load_card(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 3}, "schema_version 3, this Sightline reads 2"),
        ({"threshold": "high"}, r"Expected `float`, got `str` - at `\$\.threshold`"),
        ({"threshold": None}, r"\$\.threshold"),
        ({"threshold": -1.0}, "threshold is -1.0"),
        ({"review_threshold": 9.0}, "review_threshold 9.0 is above threshold 3.0"),
        ({"input_width": 0}, "input_width is 0, expected 1 to 4096"),
        ({"color_order": "BGR"}, r"\$\.color_order"),
    ],
)
def test_a_wrong_value_is_named(card: DetectorCard, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    save_card(card, tmp_path)
    path = tmp_path / CARD_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DetectorError, match=message):
        load_card(tmp_path)


@pytest.mark.parametrize("text", ["", "not json", "[1, 2]", '"card"'])
def test_what_is_no_card_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / CARD_FILE).write_text(text)
    with pytest.raises(DetectorError, match="not JSON"):
        load_card(tmp_path)


def test_the_digest_covers_all_files_of_a_bundle_and_nothing_else(card: DetectorCard, tmp_path: Path) -> None:
    (tmp_path / GRAPH_FILE).write_bytes(b"graph")
    save_card(card, tmp_path)
    first = bundle_digest(tmp_path)
    (tmp_path / "notes.txt").write_text("anything")
    assert bundle_digest(tmp_path) == first
    save_card(replace(card, threshold=3.5), tmp_path)
    second = bundle_digest(tmp_path)
    (tmp_path / GRAPH_FILE).write_bytes(b"another graph")
    third = bundle_digest(tmp_path)
    (tmp_path / SELF_TEST_FILE).write_bytes(b"pictures")
    fourth = bundle_digest(tmp_path)
    (tmp_path / SELF_TEST_FILE).write_bytes(b"other pictures")
    fifth = bundle_digest(tmp_path)
    (tmp_path / REFERENCE_FILE).write_bytes(b"weights")
    sixth = bundle_digest(tmp_path)
    (tmp_path / REFERENCE_FILE).write_bytes(b"other weights")
    assert len({first, second, third, fourth, fifth, sixth, bundle_digest(tmp_path)}) == 7


def test_a_bundle_of_before_self_tests_keeps_its_digest(card: DetectorCard, tmp_path: Path) -> None:
    (tmp_path / GRAPH_FILE).write_bytes(b"graph")
    save_card(card, tmp_path)
    first = bundle_digest(tmp_path)
    (tmp_path / REFERENCE_FILE).write_bytes(b"weights")
    assert bundle_digest(tmp_path) == first


def test_an_incomplete_bundle_has_no_digest(card: DetectorCard, tmp_path: Path) -> None:
    save_card(card, tmp_path)
    with pytest.raises(DetectorError, match=r"detector\.onnx cannot be read"):
        bundle_digest(tmp_path)
