"""The bad detectors that are registered on purpose are bad in the way that they are named for, and in no other."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from benchmarks.chaos import detectors
from models.doubles import write_brightness_bundle
from models.runtime.scorer import load_scorer
from models.runtime.self_test import load_self_test
from sightline.errors import DetectorError
from streaming.trial import prove


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_brightness_bundle(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (detectors.corrupt, "not an ONNX graph"),
        (detectors.giving_nan, "not finite"),
        (detectors.of_wrong_shape, "the card asks for"),
    ],
)
def test_it_does_not_load(bundle: Path, spoil: detectors.Spoil, words: str) -> None:
    spoil(bundle, random.Random(0))
    with pytest.raises(DetectorError, match=words):
        load_scorer(bundle, "onnxruntime")


def test_nan_for_bright_pictures_only_passes_the_loading_and_not_the_trial(bundle: Path) -> None:
    detectors.giving_nan_for_bright_pictures(bundle, random.Random(0))
    scorer = load_scorer(bundle, "onnxruntime")
    dark = np.full((1, 64, 64, 3), 40, np.uint8)
    assert np.isfinite(scorer.score(dark).scores).all()
    with pytest.raises(DetectorError, match="not finite"):
        prove(scorer)


def test_other_scores_are_seen_by_the_self_test_alone(bundle: Path) -> None:
    detectors.giving_other_scores(bundle, random.Random(0))
    scorer = load_scorer(bundle, "onnxruntime")
    prove(scorer)
    with pytest.raises(DetectorError, match="does not judge as it did when it was made"):
        prove(scorer, load_self_test(bundle, scorer.card))
