from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.calibrate import Rates
from models.judging.metrics import at_threshold, image_metrics
from models.judging.thresholds import (
    Costs,
    Thresholds,
    by_cost,
    by_extremes,
    by_f1,
    by_quantile,
    from_card,
    recalibrated,
)
from models.runtime.card import DetectorCard, load_card, save_card
from sightline.errors import DetectorError

Labelled = tuple[NDArray[np.float32], NDArray[np.bool_]]

FEW: Labelled = (np.array([1, 2, 3, 4, 5, 6], np.float32), np.array([0, 0, 1, 0, 1, 1], bool))
"""One defect (3) lies below one good frame (4)."""


def test_the_best_f1_is_reached_half_way_between_two_frames() -> None:
    found = by_f1(*FEW)
    # from 3 up: 3 of 3 defects and 1 false alarm, F1 6/7; from 5 up: 2 of 3 and none, F1 4/5
    assert found.threshold == 2.5
    assert found.details["f1"] == pytest.approx(6 / 7)
    assert found.false_alarm_rate == pytest.approx(1.5 / 4)


def test_separated_frames_are_cut_in_the_middle_of_the_gap_and_the_band_starts_there() -> None:
    found = by_f1(np.array([1.0, 2.0, 6.0, 7.0]), np.array([False, False, True, True]), review_rate=0.0)
    assert found.threshold == found.review_threshold == 4.0
    assert found.details["f1"] == 1.0


@given(
    st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=2, max_size=15).filter(
        lambda rows: len({label for _, label in rows}) == 2
    )
)
@settings(max_examples=25, deadline=None)
def test_no_threshold_has_a_better_f1(rows: list[tuple[int, bool]]) -> None:
    scores, defect = np.array([row[0] for row in rows], np.float32), np.array([row[1] for row in rows])
    found = by_f1(scores, defect)
    assert at_threshold(scores, defect, found.threshold)["f1"] == pytest.approx(
        image_metrics(scores=scores, defect=defect, threshold=1.0)["f1_max"]
    )
    assert 0 < found.review_threshold <= found.threshold


@pytest.mark.parametrize(
    ("miss", "false_alarm", "threshold"),
    [
        (10.0, 1.0, 2.5),  # a miss is dear: take the false alarm
        (1.0, 10.0, 4.5),  # a false alarm is dear: take the miss
        (1.0, 0.0, 1.0),  # false alarms are free: the lowest threshold that misses nothing is the lowest of all
    ],
)
def test_the_dearer_mistake_is_avoided(miss: float, false_alarm: float, threshold: float) -> None:
    assert by_cost(*FEW, Costs(miss=miss, false_alarm=false_alarm)).threshold == threshold


def test_scores_that_are_neighbours_in_single_precision_are_told_apart() -> None:
    low = np.float32(3.0)
    scores = np.array([low, np.nextafter(low, np.float32(9))], np.float32)
    found = by_f1(scores, np.array([False, True]))
    assert (scores >= found.threshold).tolist() == [False, True]


def test_where_misses_are_free_nothing_is_called() -> None:
    scores, defect = np.array([1, 2, 3], np.float32), np.array([False, True, False])
    found = by_cost(scores, defect, Costs(miss=0, false_alarm=1))
    assert not (scores >= found.threshold).any()


def test_rare_defects_raise_the_threshold_and_the_expected_cost_is_stated() -> None:
    costs = Costs(miss=2, false_alarm=1)
    common = by_cost(*FEW, costs)
    rare = by_cost(*FEW, Costs(miss=2, false_alarm=1, defect_share=0.01))
    assert common.threshold == 2.5
    assert common.details["defect_share"] == 0.5
    assert common.details["expected_cost_per_frame"] == pytest.approx(0.5 * 1 / 3)
    assert rare.threshold == 4.5
    assert rare.details["expected_cost_per_frame"] == pytest.approx(0.01 * 2 / 3)


def test_no_false_alarm_among_few_frames_is_not_said_to_be_never() -> None:
    scores = np.concatenate([np.linspace(1, 2, 14), np.linspace(5, 6, 5)])
    found = by_f1(scores, scores > 4)
    assert found.false_alarm_rate == pytest.approx(0.5 / 15)
    # the rate at which 14 good frames pass with 5 % chance: (1 - p)^14 = 0.05
    assert found.details["false_alarm_rate_at_most"] == pytest.approx(1 - 0.05 ** (1 / 14))


def test_the_review_band_asks_for_at_most_its_share_of_good_frames() -> None:
    good, bad = np.arange(1.0, 21.0), np.array([16.5, 30.0, 31.0, 32.0, 33.0, 34.0])
    scores, defect = np.concatenate([good, bad]), np.arange(26) >= 20
    found = by_f1(scores, defect, review_rate=0.1)
    assert found.threshold == 25.0
    assert found.review_threshold == 18.5
    wide = by_f1(scores, defect, review_rate=0.2)
    assert wide.review_threshold < 16.5


def test_a_quantile_is_exceeded_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    rates = Rates(false_alarm=0.05, review=0.2)
    exceeded = []
    for _ in range(400):
        found = by_quantile(rng.exponential(size=39), rates)
        fresh = rng.exponential(size=200)
        exceeded.append([(fresh >= found.threshold).mean(), (fresh >= found.review_threshold).mean()])
    assert np.mean(exceeded, 0) == pytest.approx([0.05, 0.2], rel=0.12)


def test_a_quantile_beyond_all_frames_is_refused_and_extremes_reach_it() -> None:
    scores = np.random.default_rng(0).gumbel(3, 0.4, 31)
    rates = Rates(false_alarm=0.005, review=0.025)
    with pytest.raises(DetectorError, match=r"at least 199 frames, a rate of 0\.0312 or more, or extreme values"):
        by_quantile(scores, rates)
    assert by_extremes(scores, rates).threshold > scores.max()


@pytest.mark.parametrize(
    ("scores", "defect", "message"),
    [
        ([1.0, 2.0], [False, False], "all 2 labelled frames are good"),
        ([1.0, 2.0], [True, True], "all 2 labelled frames are defective"),
        ([1.0, np.nan], [False, True], "1 of 2 scores of labelled frames are not finite"),
        ([1.0, 2.0], [False], "2 scores for 1 labels"),
        ([], [], "no scores of labelled frames"),
    ],
)
def test_labels_that_cannot_choose_are_named(scores: list[float], defect: list[bool], message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        by_f1(np.array(scores), np.array(defect, bool))
    with pytest.raises(DetectorError, match=message):
        by_cost(np.array(scores), np.array(defect, bool), Costs(miss=1, false_alarm=1))


@pytest.mark.parametrize(
    ("miss", "false_alarm", "share", "message"),
    [
        (-1.0, 1.0, None, "cost of a miss is -1.0"),
        (1.0, float("nan"), None, "cost of a false alarm is nan"),
        (0.0, 0.0, None, "both cost 0"),
        (1.0, 1.0, 1.0, r"share of defects is 1\.0"),
    ],
)
def test_costs_that_make_no_sense_are_named(miss: float, false_alarm: float, share: float | None, message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        Costs(miss=miss, false_alarm=false_alarm, defect_share=share)


def test_a_review_rate_out_of_range_is_named() -> None:
    with pytest.raises(DetectorError, match="review rate is 1"):
        by_f1(*FEW, review_rate=1.0)


def test_a_choice_stands_on_the_card_and_is_read_back(card: DetectorCard, tmp_path: Path) -> None:
    chosen = by_f1(*FEW)
    changed = recalibrated(card, chosen)
    save_card(changed, tmp_path)
    read = load_card(tmp_path)
    assert from_card(read) == chosen
    assert read.map_scale / read.threshold == pytest.approx(card.map_scale / card.threshold)


def test_thresholds_that_a_card_cannot_hold_are_refused(card: DetectorCard) -> None:
    zero = Thresholds(
        threshold=1.0, review_threshold=0.0, method="", false_alarm_rate=None, review_rate=None, rests_on=""
    )
    with pytest.raises(DetectorError, match="both must be above 0"):
        recalibrated(card, zero)
