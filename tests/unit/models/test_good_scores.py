"""How rare a score is among good frames, as a card's two thresholds tell it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models import calibrate
from models.calibrate import Rates
from models.runtime.card import DetectorCard
from models.runtime.good_scores import GoodScores


def with_rates(card: DetectorCard, alarm: float, review: float) -> DetectorCard:
    return replace(card, calibration={"method": "by hand", "false_alarm_rate": alarm, "review_rate": review})


def test_the_standard_gumbel_distribution_by_hand() -> None:
    # 1 - exp(-exp(-x)) at 0, at the median -ln ln 2, and far out on both sides
    found = GoodScores(location=0, scale=1).reaching([0, -math.log(math.log(2)), 800, -800])
    np.testing.assert_allclose(found, [1 - math.exp(-1), 0.5, 0, 1], atol=1e-15)


def test_both_thresholds_are_reached_as_often_as_the_card_says(card: DetectorCard) -> None:
    good = GoodScores.of(with_rates(card, 0.005, 0.025))
    assert good
    np.testing.assert_allclose(good.reaching([card.threshold, card.review_threshold]), [0.005, 0.025])


@settings(max_examples=15, deadline=None)
@given(st.floats(0.3, 3), st.integers(0, 20))
def test_new_good_frames_are_spread_evenly_over_the_shares(scale: float, seed: int) -> None:
    """What a share promises: one good frame in ten has a share below 0.1, one in two below 0.5."""
    drawn = stats.gumbel_r.rvs(5, scale, 4400, random_state=seed)
    found = calibrate.calibrate(drawn[:400], 10, Rates())
    high, low = (-math.log(-math.log1p(-rate)) for rate in (found.rates.false_alarm, found.rates.review))
    width = (found.threshold - found.review_threshold) / (high - low)
    shares = GoodScores(found.threshold - high * width, width).reaching(drawn[400:])
    for share in (0.1, 0.5, 0.9):
        assert abs((shares < share).mean() - share) < 0.1


@pytest.mark.parametrize(
    "calibration",
    [
        {"method": "given"},
        {"method": "f1-optimal", "false_alarm_rate": 0.03, "review_rate": 0.03},
        {"method": "damaged", "false_alarm_rate": "0.005", "review_rate": 0.025},
        {"method": "impossible", "false_alarm_rate": 0.0, "review_rate": 0.025},
    ],
)
def test_nothing_is_made_up_where_the_card_states_no_two_rates(
    card: DetectorCard, calibration: dict[str, str | float | int]
) -> None:
    assert GoodScores.of(replace(card, calibration=calibration)) is None


def test_one_threshold_with_two_rates_says_nothing(card: DetectorCard) -> None:
    assert GoodScores.of(replace(with_rates(card, 0.005, 0.025), review_threshold=card.threshold)) is None
