"""Where to draw the line, from labelled scores or from good frames only, and how often it will be wrong.

A threshold that is chosen among labelled frames lies half-way between two neighbouring scores, so that neither frame
stands on the edge. Its false-alarm rate is stated in two numbers: what to expect of the next good frame,
(k + ½) / (n + 1) when k of n were called, and the highest rate that these frames do not rule out at 95 % confidence
(Clopper and Pearson 1934, "The use of confidence or fiducial limits", Biometrika 26). None of 14 is not never.

The review band reaches from the threshold down to the lowest score at which at most `review_rate` of the good frames
lie at or above it. Where the threshold alone calls as many, the band is empty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models import calibrate
from models.calibrate import Rates
from models.runtime.card import DetectorCard
from sightline.errors import DetectorError

REVIEW_RATE = 0.1
"""Share of good frames that people may be asked to look at, or that are called defect, when nothing else is asked."""

_CONFIDENCE = 0.95

Floats = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a missed defect and a false alarm cost, in any one unit, and the share of defects on the line.

    Without `defect_share` that of the labelled frames is taken, which usually holds far more defects than a line does.
    """

    miss: float
    false_alarm: float
    defect_share: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("miss", self.miss), ("false alarm", self.false_alarm)):
            if not (math.isfinite(value) and value >= 0):
                raise DetectorError(f"cost of a {name} is {value}, expected a finite number, 0 or more")
        if self.miss == self.false_alarm == 0:
            raise DetectorError("a miss and a false alarm both cost 0: every threshold is as good; give one a cost")
        if self.defect_share is not None and not 0 < self.defect_share < 1:
            raise DetectorError(
                f"share of defects is {self.defect_share}, expected above 0 and below 1, as 0.01 for one part in 100"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Two cuts and what they rest on.

    `false_alarm_rate` and `review_rate` are the expected shares of good frames at or above `threshold` and
    `review_threshold`; None where nothing is known. `rests_on` is a sentence for people; `details` are further numbers.
    """

    threshold: float
    review_threshold: float
    method: str
    false_alarm_rate: float | None
    review_rate: float | None
    rests_on: str
    details: Mapping[str, str | float | int] = field(default_factory=dict)

    def on_card(self) -> dict[str, str | float | int]:
        """The `calibration` field of a card."""
        rates = {"false_alarm_rate": self.false_alarm_rate, "review_rate": self.review_rate}
        known = {name: rate for name, rate in rates.items() if rate is not None}
        return {"method": self.method, **known, "rests_on": self.rests_on, **self.details}


def from_card(card: DetectorCard) -> Thresholds:
    """The thresholds that the detector judges by now."""
    method = str(card.calibration.get("method", "unknown"))
    frames = card.calibration.get("held_out_frames")
    on = f"{frames} good frames, each scored by a model that had not seen it" if frames else "what its card says"
    kept = {"method", "false_alarm_rate", "review_rate", "rests_on"}
    return Thresholds(
        threshold=card.threshold,
        review_threshold=card.review_threshold,
        method=method,
        false_alarm_rate=_rate(card, "false_alarm_rate"),
        review_rate=_rate(card, "review_rate"),
        rests_on=str(card.calibration.get("rests_on", on)),
        details={name: value for name, value in card.calibration.items() if name not in kept},
    )


def by_f1(scores: Floats, defect: NDArray[np.bool_], review_rate: float = REVIEW_RATE) -> Thresholds:
    """The threshold of the highest F1 on `scores` [N] with labels `defect` [N]; of several, the one that misses least.

    Raises DetectorError unless both labels are there and all scores are finite.
    """
    called = _Called.at_every_cut(scores, defect)
    found = called.defects
    quality = 2 * found / (called.defect_count + found + called.good)
    best = int(np.flatnonzero(quality >= quality.max() - 1e-12)[0])
    return _chosen("f1-optimal", called, best, review_rate, {"f1": float(quality[best])})


def by_cost(scores: Floats, defect: NDArray[np.bool_], costs: Costs, review_rate: float = REVIEW_RATE) -> Thresholds:
    """The threshold of the lowest expected cost a frame; of several, the one that misses least.

    The expectation takes the miss rate and the false-alarm rate from `scores` [N] with labels `defect` [N], and how
    often a frame is defective from `costs`. Raises DetectorError unless both labels are there and all scores finite.
    """
    called = _Called.at_every_cut(scores, defect)
    share = costs.defect_share
    if share is None:
        share = called.defect_count / (called.defect_count + called.good_count)
    misses = 1 - called.defects / called.defect_count
    cost = share * costs.miss * misses + (1 - share) * costs.false_alarm * called.good / called.good_count
    best = int(np.flatnonzero(cost <= cost.min() + 1e-12 * max(costs.miss, costs.false_alarm))[0])
    details = {
        "cost_of_miss": float(costs.miss),
        "cost_of_false_alarm": float(costs.false_alarm),
        "defect_share": float(share),
        "expected_cost_per_frame": float(cost[best]),
    }
    return _chosen("cost-optimal", called, best, review_rate, details)


def by_quantile(good_scores: Floats, rates: Rates) -> Thresholds:
    """Thresholds that the next good frame exceeds with the chances of `rates`, whatever the scores' distribution.

    Of n exchangeable scores the k-th highest is exceeded by the next one with probability k / (n + 1); between them is
    interpolated (Weibull 1939). A rate below 1 / (n + 1) lies beyond all scores seen: DetectorError says how many
    frames it takes, and `by_extremes` extrapolates instead.
    """
    values = _finite(good_scores, "good frames")
    if rates.false_alarm * (len(values) + 1) < 1:
        raise DetectorError(
            f"a plain quantile of {len(values)} good frames cannot tell a false-alarm rate of {rates.false_alarm:g}: "
            f"use at least {math.ceil(1 / rates.false_alarm) - 1} frames, a rate of {1 / (len(values) + 1):.3g} or "
            "more, or extreme values"
        )
    cuts = np.quantile(values, [1 - rates.false_alarm, 1 - rates.review], method="weibull")
    return Thresholds(
        threshold=float(cuts[0]),
        review_threshold=float(cuts[1]),
        method="quantile",
        false_alarm_rate=rates.false_alarm,
        review_rate=rates.review,
        rests_on=f"the order of the scores of {len(values)} good frames",
        details={"good_frames": len(values), "highest_good_score": float(values.max())},
    )


def by_extremes(good_scores: Floats, rates: Rates) -> Thresholds:
    """Thresholds for `rates` by a Gumbel distribution of good scores, as training does it (`models.calibrate`).

    Reaches rates that the frames are too few to show. Raises DetectorError for too few scores, or without spread.
    """
    values = _finite(good_scores, "good frames")
    found = calibrate.calibrate(values, folds=1, rates=rates)
    return Thresholds(
        threshold=found.threshold,
        review_threshold=found.review_threshold,
        method=calibrate.METHOD,
        false_alarm_rate=rates.false_alarm,
        review_rate=rates.review,
        rests_on=f"a Gumbel distribution fitted to the scores of {len(values)} good frames",
        details={"good_frames": len(values), "highest_good_score": found.highest},
    )


def recalibrated(card: DetectorCard, thresholds: Thresholds) -> DetectorCard:
    """`card` with other thresholds, heat maps drawn in proportion; raises DetectorError where it cannot hold them."""
    if not 0 < thresholds.review_threshold <= thresholds.threshold < math.inf:
        raise DetectorError(
            f"threshold {thresholds.threshold:.4g} with review from {thresholds.review_threshold:.4g} cannot stand on "
            "a card: both must be above 0, the review threshold not above the other; choose by another rule"
        )
    return replace(
        card,
        threshold=thresholds.threshold,
        review_threshold=thresholds.review_threshold,
        map_scale=card.map_scale * thresholds.threshold / card.threshold,
        calibration=thresholds.on_card(),
    )


@dataclass(frozen=True, slots=True)
class _Called:
    """How many good and defective frames each possible cut calls, from the lowest cut to the highest, all [C]."""

    cuts: NDArray[np.float64]
    good: NDArray[np.intp]
    defects: NDArray[np.intp]
    good_count: int
    defect_count: int

    @classmethod
    def at_every_cut(cls, scores: Floats, defect: NDArray[np.bool_]) -> _Called:
        values = _finite(scores, "labelled frames")
        if len(values) != len(defect):
            raise DetectorError(f"{len(values)} scores for {len(defect)} labels; give one label for each score")
        if not 0 < defect.sum() < len(defect):
            label = "defective" if defect.all() else "good"
            raise DetectorError(
                f"all {len(defect)} labelled frames are {label}: this rule needs both; add others, or choose the "
                "threshold from good frames only"
            )
        levels = np.unique(values)
        # scores are float32: a cut that is none would be rounded onto a score when the two are compared
        between = ((levels[:-1] + levels[1:]) / 2).astype(np.float32)
        between = np.where(between > levels[:-1], between, levels[1:])
        nothing = np.nextafter(np.float32(levels[-1]), np.float32(np.inf))
        cuts = np.concatenate([levels[:1], between, [nothing]])
        good, bad = np.sort(values[~defect]), np.sort(values[defect])
        return cls(
            cuts, len(good) - np.searchsorted(good, cuts), len(bad) - np.searchsorted(bad, cuts), len(good), len(bad)
        )


def _chosen(
    method: str, called: _Called, best: int, review_rate: float, details: Mapping[str, str | float | int]
) -> Thresholds:
    if not 0 <= review_rate < 1:
        raise DetectorError(f"review rate is {review_rate}, expected from 0 to below 1, as 0.1 for one good part in 10")
    band = int(np.flatnonzero(called.good <= review_rate * called.good_count)[0])
    review = min(best, band)
    count, alarms = called.good_count, int(called.good[best])
    missed = called.defect_count - int(called.defects[best])
    highest = float(stats.beta.ppf(_CONFIDENCE, alarms + 1, count - alarms)) if alarms < count else 1.0
    return Thresholds(
        threshold=float(called.cuts[best]),
        review_threshold=float(called.cuts[review]),
        method=method,
        false_alarm_rate=(alarms + 0.5) / (count + 1),
        review_rate=(int(called.good[review]) + 0.5) / (count + 1),
        rests_on=(
            f"{count} good and {called.defect_count} defective frames, {alarms} of the good called and {missed} of the "
            f"defective missed; at most {highest:.1%} false alarms at 95 % confidence; chosen on these same frames, so "
            "rather too favourable"
        ),
        details={
            "good_frames": count,
            "defective_frames": called.defect_count,
            "false_alarm_rate_at_most": highest,
            **details,
        },
    )


def _finite(scores: Floats, what: str) -> NDArray[np.float64]:
    values = np.asarray(scores, np.float64)
    if not len(values):
        raise DetectorError(f"no scores of {what}; score some first")
    if not np.isfinite(values).all():
        raise DetectorError(
            f"{int((~np.isfinite(values)).sum())} of {len(values)} scores of {what} are not finite: the detector or "
            "its runtime is damaged; fetch it again"
        )
    return values


def _rate(card: DetectorCard, name: str) -> float | None:
    value = card.calibration.get(name)
    return float(value) if isinstance(value, int | float) else None
