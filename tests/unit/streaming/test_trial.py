from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.doubles import write_brightness_bundle
from models.runtime.card import DetectorCard
from models.runtime.scorer import load_scorer
from models.runtime.scores import Scores
from sightline.errors import DetectorError
from streaming import trial


class OddScorer:
    """Judges the blank picture, and refuses or dawdles on others."""

    def __init__(self, card: DetectorCard, work: int = 0, refuses: int | None = None) -> None:
        self.card = card
        self._work = work
        self._refuses = refuses

    def score(self, images: NDArray[np.uint8]) -> Scores:
        if self._refuses is not None and images.max() >= self._refuses:
            raise DetectorError("gave scores that are not finite")
        for _ in range(self._work):
            pass
        return Scores(np.zeros((1, 8, 8), np.float32), np.zeros(1, np.float32))


@pytest.fixture
def card(tmp_path: Path) -> DetectorCard:
    return write_brightness_bundle(tmp_path)


def test_a_sound_bundle_passes(card: DetectorCard, tmp_path: Path) -> None:
    assert trial.main(str(tmp_path), "onnxruntime", "fp32") == 0
    trial.prove(load_scorer(tmp_path, "onnxruntime"))


def test_a_detector_that_fails_on_bright_pictures_alone_is_refused(card: DetectorCard) -> None:
    with pytest.raises(DetectorError, match="not finite"):
        trial.prove(OddScorer(card, refuses=200))


def test_a_detector_that_would_hold_up_the_line_is_refused(card: DetectorCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "PICTURE_SECONDS", 0.001)
    with pytest.raises(DetectorError, match="of a processor for one picture"):
        trial.prove(OddScorer(card, work=1_000_000))
