"""`sightline score-images`: labels from folders, the confusion matrix, and what the command prints."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from models.doubles import write_brightness_bundle
from sightline.errors import SourceError
from streaming.commands import app
from streaming.confusion import Confusion
from streaming.picture_folder import read_folder


def put(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((64, 64, 3), level, np.uint8))


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Two good parts, one of them too bright; three dents, one hardly bright and one that is no picture."""
    root = tmp_path / "parts"
    for kind, number, level in (("good", 0, 20), ("good", 1, 230), ("dent", 0, 240), ("dent", 1, 170)):
        put(root / "test" / kind / f"{number}.png", level)
    (root / "test" / "dent" / "2.jpg").write_bytes(b"text")
    put(root / "train" / "good" / "0.png", 20)
    put(root / "ground_truth" / "dent" / "0_mask.png", 255)
    return root


def test_labels_are_the_folders_of_a_labelled_set(parts: Path) -> None:
    assert [(one.path.name, one.label) for one in read_folder(parts)] == [
        ("0.png", "dent"),
        ("1.png", "dent"),
        ("2.jpg", "dent"),
        ("0.png", "good"),
        ("1.png", "good"),
    ]


def test_folders_of_an_archive_are_no_labels(tmp_path: Path) -> None:
    put(tmp_path / "cam-1" / "0.png", 20)
    put(tmp_path / "cam-2" / "day" / "0.PNG", 20)
    put(tmp_path / ".thumbnails" / "0.png", 20)
    (tmp_path / "notes.txt").write_text("")
    assert [one.label for one in read_folder(tmp_path)] == [None, None]
    assert [one.label for one in read_folder(tmp_path, ("cam-2",))] == ["cam-1", "good"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no pictures"):
        read_folder(tmp_path / "empty")
    with pytest.raises(SourceError, match="is not a folder"):
        read_folder(tmp_path / "none")


def test_reviews_are_not_called_and_errors_are_counted_apart() -> None:
    called = [("good", "ok"), ("good", "review"), ("good", "defect"), ("dent", "defect"), ("dent", "review")]
    confusion = Confusion.of([*called, ("dent", None), (None, "defect")])
    assert confusion.rows() == {
        "good": {"ok": 1, "review": 1, "defect": 1, "error": 0},
        "dent": {"ok": 0, "review": 1, "defect": 1, "error": 1},
    }
    assert confusion.summary() == {
        "true_positives": 1,
        "false_negatives": 1,
        "false_positives": 1,
        "true_negatives": 2,
    }


def test_a_labelled_folder_is_scored_and_compared(parts: Path, tmp_path: Path) -> None:
    write_brightness_bundle(tmp_path / "bundle")
    given = ["score-images", str(parts), "--detector", str(tmp_path / "bundle"), "--threads", "1"]
    answer = CliRunner().invoke(app, [*given, "--backend", "onnx", "--output", str(tmp_path / "rows.jsonl"), "--json"])
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert found["confusion"] == {
        "good": {"ok": 1, "review": 0, "defect": 1, "error": 0},
        "dent": {"ok": 0, "review": 1, "defect": 1, "error": 1},
    }
    assert found["errors"] == {"undecodable": 1}
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["class"] for row in rows] == ["defect", "review", None, "ok", "defect"]
    assert rows[2]["error"].startswith("undecodable: ")

    shown = CliRunner().invoke(app, given).output
    assert "called defect: 1 of 2 defective, 1 of 2 good" in shown
    assert "error: undecodable" in shown
