"""What a bundle remembers of its own judgements, and what is made of a detector that judges otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.doubles import write_brightness_bundle
from models.runtime import processor_time
from models.runtime.card import CARD_FILE, SELF_TEST_FILE, DetectorCard, bundle_digest, load_card
from models.runtime.processor_time import processor_ms
from models.runtime.scorer import load_scorer
from models.runtime.scores import Scores
from models.runtime.self_test import (
    EXACT,
    ROUNDED,
    Example,
    encoded,
    judged,
    load_self_test,
    prove_same,
    save_self_test,
    under,
)
from sightline.contracts import Verdict
from sightline.errors import DetectorError


class Bright:
    """Gives the brightness of a picture, `off` times too much."""

    def __init__(self, card: DetectorCard, off: float = 1.0) -> None:
        self.card = card
        self._off = off

    def score(self, images: NDArray[np.uint8]) -> Scores:
        return Scores(np.zeros((1, 8, 8), np.float32), np.float32([self._off * images.mean()]))


@pytest.fixture
def card(tmp_path: Path) -> DetectorCard:
    return write_brightness_bundle(tmp_path)


def plain(grey: int) -> bytes:
    return encoded(np.full((64, 64, 3), grey, np.uint8))


def test_the_double_judges_as_its_self_test_says(card: DetectorCard, tmp_path: Path) -> None:
    examples = load_self_test(tmp_path, load_card(tmp_path))
    assert {example.name: example.verdict for example in examples} == {"dark": Verdict.OK, "bright": Verdict.DEFECT}
    prove_same(load_scorer(tmp_path, "onnxruntime"), examples, EXACT)


def test_examples_come_back_as_they_were_and_change_the_digest(card: DetectorCard, tmp_path: Path) -> None:
    before = bundle_digest(tmp_path)
    examples = (judged(Bright(card), "one", plain(90)),)
    assert examples[0].score == pytest.approx(90, abs=1)
    card = save_self_test(examples, card, tmp_path)
    assert load_card(tmp_path) == card
    assert load_self_test(tmp_path, card) == examples
    assert bundle_digest(tmp_path) != before


def test_without_examples_there_is_no_self_test(card: DetectorCard, tmp_path: Path) -> None:
    card = save_self_test((), card, tmp_path)
    assert (card.self_test, (tmp_path / SELF_TEST_FILE).exists()) == (None, False)
    assert load_self_test(tmp_path, load_card(tmp_path)) == ()


def test_a_self_test_that_is_gone_or_another_is_refused(card: DetectorCard, tmp_path: Path) -> None:
    path = tmp_path / SELF_TEST_FILE
    path.write_bytes(path.read_bytes().replace(b'"ok"', b'"defect"'))
    with pytest.raises(DetectorError, match=r"self_test\.json hashes to .*, the card names .*another detector"):
        load_self_test(tmp_path, card)
    path.unlink()
    with pytest.raises(DetectorError, match=r"self_test\.json cannot be read .*and the card names it"):
        load_self_test(tmp_path, card)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"latency_budget_ms": 100.0', '"latency_budget_ms": 0.0'), "latency_budget_ms is 0.0, expected"),
        (('"self_test": "', '"self_test": "../'), r"self_test is '\.\./.*expected a SHA-256"),
    ],
)
def test_a_card_that_states_neither_budget_nor_digest_is_refused(
    card: DetectorCard, tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    path = tmp_path / CARD_FILE
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(DetectorError, match=message):
        load_card(tmp_path)


@pytest.mark.parametrize(("off", "share"), [(1.03, EXACT), (0.8, ROUNDED), (float("nan"), ROUNDED)])
def test_a_score_that_is_off_is_told_with_picture_expected_and_got(
    card: DetectorCard, off: float, share: float
) -> None:
    example = judged(Bright(card), "train/good/7.jpg", plain(100))
    far = replace(card, threshold=100.0, review_threshold=99.0)
    with pytest.raises(
        DetectorError, match=r"self-test picture train/good/7\.jpg, expected ok with a score of 100 ± .*, got .* with "
    ):
        prove_same(Bright(far, off), [example], share)


@pytest.mark.parametrize(("off", "share"), [(1.01, EXACT), (1.08, ROUNDED), (0.92, ROUNDED)])
def test_rounding_is_allowed(card: DetectorCard, off: float, share: float) -> None:
    prove_same(Bright(card, off), [judged(Bright(card), "one", plain(230))], share)


def test_another_verdict_is_refused_however_near_the_score_is(card: DetectorCard) -> None:
    example = judged(Bright(card), "one", plain(202))
    with pytest.raises(DetectorError, match=r"expected defect with a score of 202 ± .*, got review with 199"):
        prove_same(Bright(card, 0.989), [example], EXACT)


def test_a_picture_that_is_no_jpeg_is_named(card: DetectorCard) -> None:
    with pytest.raises(DetectorError, match=r"self-test picture one of sightline\.washer cannot be decoded"):
        prove_same(Bright(card), [Example(name="one", jpeg=b"none", score=1.0, verdict=Verdict.OK)], EXACT)


def test_other_thresholds_cut_the_same_scores_and_leave_out_what_rounding_could_carry_over(card: DetectorCard) -> None:
    examples = [judged(Bright(card), str(grey), plain(grey)) for grey in (40, 120, 250)]
    cut = under(examples, replace(card, threshold=110.0, review_threshold=60.0))
    assert [(example.name, example.verdict) for example in cut] == [("40", Verdict.OK), ("250", Verdict.DEFECT)]
    recut = under(examples, replace(card, threshold=100.0, review_threshold=80.0))
    assert [(example.name, example.verdict.value) for example in recut] == [
        ("40", "ok"),
        ("120", "defect"),
        ("250", "defect"),
    ]


@pytest.mark.parametrize(
    ("takes", "found", "calls"),
    [
        ([20.0], 20.0, 1),
        ([130.0, 20.0], 20.0, 2),
        ([130.0, 150.0, 120.0], 120.0, 3),
        ([5000.0], 5000.0, 1),
    ],
)
def test_the_quickest_of_a_few_calls_counts(
    card: DetectorCard, monkeypatch: pytest.MonkeyPatch, takes: list[float], found: float, calls: int
) -> None:
    scorer, now, asked = Bright(card), 0.0, 0

    def score(images: NDArray[np.uint8]) -> None:
        nonlocal now, asked
        now, asked = now + takes[asked] / 1000, asked + 1

    monkeypatch.setattr(scorer, "score", score)
    monkeypatch.setattr(processor_time.time, "process_time", lambda: now)
    picture = np.zeros((1, 64, 64, 3), np.uint8)
    assert (processor_ms(scorer, picture, budget_ms=100.0), asked) == (pytest.approx(found), calls)
