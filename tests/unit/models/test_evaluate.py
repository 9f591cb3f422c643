from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.dataset import Sample
from models.evaluate import evaluate
from models.runtime.scorer import Scores


def samples(*kinds: str, mask: Path | None = None) -> list[Sample]:
    return [Sample(Path(f"{number}.jpg"), kind, mask if kind != "good" else None) for number, kind in enumerate(kinds)]


def scores(*values: float) -> Scores:
    flat = np.array(values, np.float32)
    return Scores(np.broadcast_to(flat[:, None, None], (len(flat), 8, 8)).copy(), flat)


def test_the_confusion_matrix_and_f1_are_those_of_the_threshold() -> None:
    found = evaluate(samples("good", "good", "dent", "dent", "crack"), scores(1.0, 3.5, 3.0, 2.0, 9.0), threshold=3.0)
    assert [found[name] for name in ("true_positives", "false_positives", "false_negatives", "true_negatives")] == [
        2,
        1,
        1,
        1,
    ]
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["false_alarm_rate"] == 0.5
    assert found["image_auroc"] == pytest.approx(4 / 6)
    assert found["f1_max"] > found["f1"]


def test_labels_of_one_kind_leave_out_what_they_cannot_tell() -> None:
    only_good = evaluate(samples("good", "good"), scores(1.0, 4.0), threshold=3.0)
    assert only_good["false_alarm_rate"] == 0.5
    assert "image_auroc" not in only_good
    assert "f1" not in only_good
    assert evaluate([], scores(), threshold=1.0) == {}


def test_pixel_auroc_rewards_the_right_place(tmp_path: Path) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:32, :32] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    labelled = samples("good", "dent", mask=tmp_path / "mask.png")
    right, wrong = np.zeros((2, 8, 8), np.float32), np.zeros((2, 8, 8), np.float32)
    right[1, :4, :4] = wrong[1, 4:, 4:] = 5.0
    values = np.array([0.0, 5.0], np.float32)
    assert evaluate(labelled, Scores(right, values), 1.0)["pixel_auroc"] > 0.95
    assert evaluate(labelled, Scores(wrong, values), 1.0)["pixel_auroc"] < 0.5
