"""How far a window of frames is from its reference, from summaries that Spark makes: no frame's row is needed here.

A summary is a count, a mean, a deviation and 200 quantiles. Two figures are computed of each measure:

- the population stability index over the reference's deciles, Σ (p − q) ln(p / q); below 0.1 nothing, from 0.25 on a
  shift that asks for action (Siddiqi 2006; its chance level: Yurdakul and Naranjo 2020, doi:10.21314/JRMV.2020.227);
- the Wasserstein distance, the mean difference of the quantiles, in standard deviations of the reference: 0.5 is a
  medium and 0.8 a large difference of means (Cohen 1988), which this equals for a shift.

Few frames show large figures by chance. No value counts that one in a hundred windows of the same size would show,
were its frames drawn from the reference one by one. Frames that show one part are alike, so that this is the least.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from sightline.settings import Section

LEVELS = tuple((step + 0.5) / 200 for step in range(200))
"""The quantiles of a summary; each stands for 0.5 % of the frames."""

_DECILES = 10
_SMALLEST_SHARE = 0.0025
"""Half a quantile's share: a decile without frames counts as this, or its logarithm would be infinite."""

_CHI2_99 = 21.666
"""99 % quantile of χ² with 9 degrees of freedom: one less than there are deciles."""

_CHANCE = 0.99
_PATHS = 2000


class DriftSettings(Section):
    """What is compared with what, and from where on it counts."""

    section: ClassVar[str] = "drift"

    window_hours: Annotated[int, Field(ge=1, le=168)] = 24
    """Length of a window; windows begin at midnight UTC and every so many hours after it."""
    reference_frames: Annotated[int, Field(ge=1)] = 10_000
    """The first inspections of a detector version on a camera, to the minute, are what later ones are compared with."""
    min_frames: Annotated[int, Field(ge=50)] = 200
    """With fewer frames, in window or reference, there is no figure of scores and picture quality."""
    psi_watch: Annotated[float, Field(gt=0)] = 0.1
    psi_act: Annotated[float, Field(gt=0)] = 0.25
    wasserstein_watch: Annotated[float, Field(gt=0)] = 0.5
    wasserstein_act: Annotated[float, Field(gt=0)] = 0.8
    embedding_min_frames: Annotated[int, Field(ge=10)] = 30
    """With fewer archived frames, in window or reference, there is no figure of embeddings."""
    embedding_frames: Annotated[int, Field(ge=10, le=2000)] = 100
    """Archived frames of a window or a reference that are looked at, at most."""
    mahalanobis_watch: Annotated[float, Field(gt=0)] = 1.0
    mahalanobis_act: Annotated[float, Field(gt=0)] = 2.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in Statistic:
            limits = self.limits(name)
            if limits.watch > limits.act:
                raise ValueError(f"{name}_watch {limits.watch:g} is above {name}_act {limits.act:g}; exchange them")
        return self

    def limits(self, statistic: Statistic) -> Limits:
        """The two limits of a statistic."""
        return Limits(getattr(self, f"{statistic}_watch"), getattr(self, f"{statistic}_act"))


class Statistic(StrEnum):
    PSI = "psi"
    WASSERSTEIN = "wasserstein"
    MAHALANOBIS = "mahalanobis"


class Status(StrEnum):
    OK = "ok"
    WATCH = "watch"
    DRIFT = "drift"
    TOO_FEW = "too few"
    NO_SPREAD = "no spread"


@dataclass(frozen=True, slots=True)
class Limits:
    """From `watch` on somebody should look, from `act` on something should be done."""

    watch: float
    act: float


@dataclass(frozen=True, slots=True)
class Summary:
    """One measure over some frames; `quantiles` float64 [200], at LEVELS, ascending."""

    count: int
    mean: float
    deviation: float
    quantiles: NDArray[np.float64]

    @classmethod
    def of(cls, count: int, mean: float, deviation: float, quantiles: Sequence[float]) -> Self:
        return cls(count, mean, deviation, np.asarray(quantiles, np.float64))


@dataclass(frozen=True, slots=True)
class Figure:
    """A statistic's value, what chance alone shows once in a hundred times, and what it comes to."""

    statistic: Statistic
    value: float | None
    chance: float | None
    limits: Limits
    status: Status


def compare(reference: Summary, window: Summary, settings: DriftSettings) -> list[Figure]:
    """The figures of one measure; without values where one of the two has fewer than `min_frames`."""
    wanted = (Statistic.PSI, Statistic.WASSERSTEIN)
    if min(reference.count, window.count) < settings.min_frames:
        return [absent(statistic, settings, Status.TOO_FEW) for statistic in wanted]
    index = judged(
        Statistic.PSI,
        stability_index(reference.quantiles, window.quantiles),
        _CHI2_99 * _noise(reference, window),
        settings,
    )
    if not reference.deviation > 0:
        return [index, absent(Statistic.WASSERSTEIN, settings, Status.NO_SPREAD)]
    distance = wasserstein(reference, window)
    chance = _distance_by_chance(reference) * math.sqrt(_noise(reference, window))
    return [index, judged(Statistic.WASSERSTEIN, distance, chance, settings)]


def judged(statistic: Statistic, value: float, chance: float, settings: DriftSettings) -> Figure:
    """The figure with its status: a value counts from a limit on, and never below `chance`."""
    limits = settings.limits(statistic)
    if value >= max(limits.act, chance):
        status = Status.DRIFT
    else:
        status = Status.WATCH if value >= max(limits.watch, chance) else Status.OK
    return Figure(statistic, value, chance, limits, status)


def absent(statistic: Statistic, settings: DriftSettings, status: Status) -> Figure:
    """A figure that cannot be had, and why."""
    return Figure(statistic, None, None, settings.limits(statistic), status)


def stability_index(reference: NDArray[np.float64], window: NDArray[np.float64]) -> float:
    """Population stability index of two sets of quantiles, float64 [200] each, over the reference's deciles.

    Shares are exact to 0.25 %; values that are the same fall into the same decile in both.
    """
    # between two quantiles, so that a value that only rounding moved stays where it was
    edges = (reference[19:-1:20] + reference[20::20]) / 2
    p, q = (_shares(quantiles, edges) for quantiles in (reference, window))
    return float(np.sum((p - q) * np.log(p / q)))


def wasserstein(reference: Summary, window: Summary) -> float:
    """Mean difference of the quantiles, in standard deviations of the reference."""
    return float(np.abs(window.quantiles - reference.quantiles).mean() / reference.deviation)


def _shares(quantiles: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the frames in each decile, float64 [10], none below the smallest that can be told."""
    counts = np.bincount(np.searchsorted(edges, quantiles, side="left"), minlength=_DECILES)
    shares = np.maximum(counts / counts.sum(), _SMALLEST_SHARE)
    return np.asarray(shares / shares.sum())


def _noise(reference: Summary, window: Summary) -> float:
    return 1 / reference.count + 1 / window.count


def _distance_by_chance(reference: Summary) -> float:
    """99 % quantile of the distance between two samples of the reference, times √(1 / (1/n + 1/m)).

    The difference of two empirical distribution functions is a Brownian bridge over the reference's levels.
    """
    steps = np.random.default_rng(0).normal(0, math.sqrt(1 / len(LEVELS)), (_PATHS, len(LEVELS)))
    paths = steps.cumsum(axis=1)
    bridges = paths - paths[:, -1:] * np.arange(1, len(LEVELS) + 1) / len(LEVELS)
    gaps = np.diff(reference.quantiles) / reference.deviation
    return float(np.quantile(np.abs(bridges[:, :-1]) @ gaps, _CHANCE))
