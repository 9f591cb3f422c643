from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.calibrate import Rates, calibrate, held_out_scores
from sightline.errors import DetectorError


@pytest.mark.parametrize("count", [30, 200])
def test_the_false_alarm_rate_holds_on_average_for_gumbel_scores(count: int) -> None:
    rng = np.random.default_rng(0)
    rates = Rates(false_alarm=0.01, review=0.05)
    defects, reviews = [], []
    for _ in range(60):
        found = calibrate(rng.gumbel(3.0, 0.4, count), folds=10, rates=rates)
        fresh = rng.gumbel(3.0, 0.4, 4000)
        defects.append((fresh >= found.threshold).mean())
        reviews.append((fresh >= found.review_threshold).mean())
    assert np.mean(defects) == pytest.approx(0.01, rel=0.5)
    assert np.mean(reviews) == pytest.approx(0.05, rel=0.3)


def test_a_rarer_false_alarm_asks_for_a_higher_threshold() -> None:
    scores = np.random.default_rng(1).gumbel(3.0, 0.4, 60)
    strict, loose = (calibrate(scores, 10, Rates(false_alarm=rate, review=0.1)) for rate in (0.001, 0.05))
    assert strict.threshold > loose.threshold > loose.review_threshold
    assert strict.on_card()["held_out_frames"] == 60
    assert strict.on_card()["false_alarm_rate"] == 0.001


def test_few_frames_promise_no_rarer_false_alarm_than_they_can_tell() -> None:
    scores = np.random.default_rng(3).gumbel(3.0, 0.4, 200)
    few, many = calibrate(scores[:30], 10), calibrate(scores, 10)
    assert few.rates == Rates(false_alarm=1 / 31, review=3 / 31)
    assert many.rates == Rates(false_alarm=0.005, review=0.025)
    assert few.threshold < calibrate(scores[:30], 10, many.rates).threshold


def test_the_same_scores_give_the_same_threshold() -> None:
    scores = np.random.default_rng(2).gumbel(3.0, 0.4, 40)
    assert calibrate(scores, 10, Rates()) == calibrate(scores, 10, Rates())


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.ones(5), "5 scores of good frames, expected at least 8"),
        (np.full(20, 2.5), "copies of one picture"),
        (np.r_[np.arange(20.0), np.nan], "all finite"),
    ],
)
def test_scores_that_allow_no_threshold_are_refused(scores: NDArray[np.float64], message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        calibrate(scores, 10, Rates())


@pytest.mark.parametrize(("false_alarm", "review"), [(0.0, 0.1), (0.2, 0.1), (0.1, 0.9)])
def test_rates_that_contradict_each_other_are_refused(false_alarm: float, review: float) -> None:
    with pytest.raises(DetectorError, match="review rate"):
        Rates(false_alarm=false_alarm, review=review)


def test_every_frame_is_scored_once_by_a_model_that_has_not_seen_it() -> None:
    asked: list[int] = []

    def score(learnt: NDArray[np.intp], held_out: NDArray[np.intp]) -> NDArray[np.float32]:
        assert not set(learnt) & set(held_out)
        asked.extend(held_out)
        return held_out.astype(np.float32)

    scores, folds = held_out_scores(23, score)
    assert sorted(asked) == list(range(23))
    assert scores.tolist() == list(range(23))
    assert folds == 10
