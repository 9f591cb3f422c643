"""Which pictures become a detector's self-test; the detector tells how bright they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from models import examples
from models.dataset import Dataset, read_dataset
from models.doubles import write_brightness_bundle
from models.runtime.scorer import Scorer, load_scorer
from models.runtime.view import open_view
from sightline.contracts import Verdict


@pytest.fixture
def scorer(tmp_path: Path) -> Scorer:
    write_brightness_bundle(tmp_path / "bundle")
    return load_scorer(tmp_path / "bundle", "onnxruntime")


def write(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((96, 128, 3), grey, np.uint8))


def dataset(root: Path, good: Sequence[int] = (), bad: Sequence[int] = ()) -> Dataset:
    for number in range(10):
        write(root / "train" / "good" / f"{number}.png", 60 + number)
    for grey in good:
        write(root / "test" / "good" / f"{grey}.png", grey)
    for grey in bad:
        write(root / "test" / "spot" / f"{grey}.png", grey)
    return read_dataset(root)


def test_labelled_pictures_are_kept_that_are_right_and_clear(scorer: Scorer, tmp_path: Path) -> None:
    data = dataset(tmp_path, good=[20, 100, 145, 230], bad=[30, 205, 240, 250])
    found = examples.choose(scorer, data, None)
    assert [(one.name, one.verdict) for one in found] == [
        ("test/good/20.png", Verdict.OK),
        ("test/good/100.png", Verdict.OK),
        ("test/spot/250.png", Verdict.DEFECT),
        ("test/spot/240.png", Verdict.DEFECT),
    ]
    assert [one.score for one in found] == pytest.approx([20, 100, 250, 240], abs=1)


def test_what_rounding_could_carry_over_a_threshold_is_not_kept(scorer: Scorer, tmp_path: Path) -> None:
    assert examples.choose(scorer, dataset(tmp_path, good=[140, 145], bad=[195, 205]), None) == []


def test_a_missed_defect_is_better_than_none(scorer: Scorer, tmp_path: Path) -> None:
    found = examples.choose(scorer, dataset(tmp_path, good=[50], bad=[30]), None)
    assert [(one.name, one.verdict) for one in found] == [
        ("test/good/50.png", Verdict.OK),
        ("test/spot/30.png", Verdict.OK),
    ]


def test_without_labels_defects_are_synthetic(scorer: Scorer, tmp_path: Path) -> None:
    found = examples.choose(scorer, dataset(tmp_path), None)
    assert [one.name.startswith("train/good/") for one in found] == [True] * 4
    assert [one.name.endswith(" with a synthetic defect") for one in found] == [False, False, True, True]


def test_pictures_are_kept_as_the_view_shows_them(scorer: Scorer, tmp_path: Path) -> None:
    data = dataset(tmp_path, good=[50])
    half = np.full((96, 128, 3), 250, np.uint8)
    half[:, :64] = 50
    cv2.imwrite(str(tmp_path / "test" / "good" / "50.png"), half)
    seen = examples.choose(scorer, data, open_view((0, 0, 56, 96), None, "--"))[0]
    assert seen.score == pytest.approx(50, abs=2)


def test_a_name_that_is_no_text_is_written_as_one(scorer: Scorer, tmp_path: Path) -> None:
    odd = tmp_path / "test" / "spot" / os.fsdecode(b"a\xff.png")
    data = dataset(tmp_path, good=[50], bad=[250])
    (tmp_path / "test" / "spot" / "250.png").rename(odd)
    found = examples.choose(scorer, read_dataset(data.root), None)
    assert found[-1].name == "test/spot/a\\udcff.png"
