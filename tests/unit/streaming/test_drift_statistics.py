"""How far a window is from its reference: figures by hand, and what chance may not do."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sightline.errors import SettingsError
from streaming.drift_statistics import LEVELS, DriftSettings, Statistic, Status, Summary, compare, stability_index

SETTINGS = DriftSettings()
EVEN = np.asarray(LEVELS) * 100
"""Quantiles of what is spread evenly over 0 to 100."""


def summary(quantiles: np.ndarray, count: int = 10_000) -> Summary:
    return Summary.of(count, float(quantiles.mean()), float(quantiles.std()), quantiles)


def test_the_stability_index_is_the_one_of_the_textbook() -> None:
    # half of what lay in the lowest decile now lies in the highest: 5 % and 15 % where 10 % were
    moved = np.sort(np.where(np.arange(200) < 10, 99.9, EVEN))
    by_hand = (0.10 - 0.05) * math.log(0.10 / 0.05) + (0.10 - 0.15) * math.log(0.10 / 0.15)
    assert stability_index(EVEN, moved) == pytest.approx(by_hand)
    assert stability_index(EVEN, EVEN) == 0


def test_the_distance_is_the_shift_in_standard_deviations() -> None:
    _, distance = compare(summary(EVEN), summary(EVEN + EVEN.std()), SETTINGS)
    assert distance.value == pytest.approx(1.0)
    assert distance.status is Status.DRIFT
    _, distance = compare(summary(EVEN), summary(EVEN + 0.6 * EVEN.std()), SETTINGS)
    assert distance.status is Status.WATCH


def test_what_varies_nowhere_has_an_index_and_no_distance() -> None:
    flat = np.full(200, 7.0)
    index, distance = compare(summary(flat), summary(flat), SETTINGS)
    assert (index.value, index.status) == (0, Status.OK)
    assert (distance.value, distance.status) == (None, Status.NO_SPREAD)
    index, _ = compare(summary(flat), summary(flat + 1), SETTINGS)
    assert index.status is Status.DRIFT


@pytest.mark.parametrize(("reference", "window"), [(199, 10_000), (10_000, 199)])
def test_few_frames_give_no_figure(reference: int, window: int) -> None:
    figures = compare(summary(EVEN, reference), summary(EVEN + 50, window), SETTINGS)
    assert {figure.status for figure in figures} == {Status.TOO_FEW}
    assert {figure.value for figure in figures} == {None}


def test_chance_alone_passes_its_level_about_once_in_a_hundred_windows() -> None:
    draw = np.random.default_rng(5)
    reference = draw.gumbel(1, 0.3, 4000)
    known = Summary.of(4000, reference.mean(), reference.std(), np.quantile(reference, LEVELS))
    passed = {Statistic.PSI: 0, Statistic.WASSERSTEIN: 0}
    for _ in range(200):
        seen = draw.gumbel(1, 0.3, 300)
        for figure in compare(known, Summary.of(300, seen.mean(), seen.std(), np.quantile(seen, LEVELS)), SETTINGS):
            assert figure.value is not None
            assert figure.chance is not None
            passed[figure.statistic] += figure.value > figure.chance
            assert figure.status is not Status.DRIFT
    assert max(passed.values()) <= 10


def test_limits_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"psi_watch 0\.3 is above psi_act 0\.25"):
        DriftSettings.load(psi_watch=0.3)
