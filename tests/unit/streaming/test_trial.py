from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.chaos import detectors
from models.doubles import write_brightness_bundle
from models.runtime.card import INT8, SELF_TEST_FILE, DetectorCard
from models.runtime.scorer import load_scorer
from models.runtime.scores import Scores
from models.runtime.self_test import load_self_test, save_self_test
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


@pytest.mark.parametrize(("budget", "usual"), [(0.01, 2000.0), (None, 0.01)])
def test_a_detector_that_would_hold_up_the_line_is_refused(
    card: DetectorCard, monkeypatch: pytest.MonkeyPatch, budget: float | None, usual: float
) -> None:
    monkeypatch.setattr(trial, "PICTURE_MS", usual)
    scorer = OddScorer(replace(card, latency_budget_ms=budget), work=1_000_000)
    with pytest.raises(DetectorError, match=r"takes \d+ ms of a processor for a white picture, at most 0.01 ms are"):
        trial.prove(scorer)


def test_what_judges_otherwise_than_when_it_was_made_is_refused(
    card: DetectorCard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detectors.giving_other_scores(tmp_path, random.Random(0))
    assert trial.main(str(tmp_path), "onnxruntime", "fp32") == 1
    said = capsys.readouterr().err
    assert "self-test picture dark, expected ok with a score of 40 ± 4, got ok with 20" in said
    # without its self-test it is like the detectors of before there were any
    save_self_test((), card, tmp_path)
    assert trial.main(str(tmp_path), "onnxruntime", "fp32") == 0


def test_a_self_test_of_another_detector_is_refused(
    card: DetectorCard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / SELF_TEST_FILE).write_bytes(b"[]")
    assert trial.main(str(tmp_path), "onnxruntime", "fp32") == 1
    assert "belongs to another detector" in capsys.readouterr().err


@pytest.mark.parametrize(("marks", "passes"), [({}, False), ({"precision": INT8}, True)])
def test_where_numbers_are_rounded_scores_may_differ_a_little(
    card: DetectorCard, tmp_path: Path, marks: dict[str, str], passes: bool
) -> None:
    examples = load_self_test(tmp_path, card)
    near = [replace(example, score=example.score * 1.06) for example in examples]
    save_self_test(near, replace(card, parameters=card.parameters | marks), tmp_path)
    assert trial.main(str(tmp_path), "onnxruntime", "fp32") == (0 if passes else 1)
