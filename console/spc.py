"""Control charts: limits from a baseline, and the rules by which a point is called unusual.

Formulas are those of D. C. Montgomery, *Introduction to Statistical Quality Control*, 7th edition: chapter 6 for X̄ and
S, section 7.3 for fractions with samples of unequal size. The rules are those of the *Western Electric Statistical
Quality Control Handbook* (1956), and of L. S. Nelson, "The Shewhart Control Chart: Tests for Special Causes", Journal
of Quality Technology 16 (1984), 237-239. Own code, because no package fits: controlcharts had its last release in 2023,
controlchartspy draws with matplotlib, capstat-core is an alpha of some months.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import exp, lgamma, pi, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

SIGMAS = 3.0
"""Distance of the limits from the centre, in standard deviations."""

LEAST_BASELINE = 8
"""Points that a baseline needs before limits are worth drawing; 20 to 25 is what Montgomery asks for."""

_D2_OF_TWO = 2 / sqrt(pi)
"""The mean range of two standard normal values, 1.128: what an average moving range is divided by."""


class RuleSet(StrEnum):
    """Which rules mark a point."""

    WESTERN_ELECTRIC = "western-electric"
    NELSON = "nelson"


@dataclass(frozen=True, slots=True, eq=False)
class ControlChart:
    """One chart; all arrays have one value for each point, in the order of time.

    `values` may hold NaN where a point has no data: it breaks runs and is never marked. `center` is one number, `sigma`
    the standard deviation of each point about it. `spread` is by how much points of the baseline scatter more than the
    size of their samples explains; 1 unless limits were widened by it.
    """

    values: Floats
    center: float
    sigma: Floats
    lower: Floats
    upper: Floats
    spread: float = 1.0

    @property
    def standardised(self) -> Floats:
        """Each point's distance from the centre in its own standard deviations; NaN where that is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.sigma > 0, (self.values - self.center) / self.sigma, np.nan)


def p_chart(
    defective: ArrayLike, inspected: ArrayLike, baseline: Flags | None = None, *, widened: bool = False
) -> ControlChart:
    """Fraction defective with samples of unequal size (Montgomery 7.3.2, limits for each sample).

    `defective` and `inspected` are counts a point; `baseline` chooses the points that limits are made from, all without
    it. With `widened` the limits are those of Laney's p' chart (D. B. Laney, "Improved Control Charts for Attributes",
    Quality Engineering 14 (2002), 531-537): defects that come in bursts scatter more than a binomial count, and samples
    of thousands would put nearly every point outside. Raises ValueError when the baseline holds too few points.
    """
    found, size = np.asarray(defective, np.float64), np.asarray(inspected, np.float64)
    known = size > 0
    chosen = _chosen(known, baseline)
    center = float(found[chosen].sum() / size[chosen].sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(known, found / size, np.nan)
        sigma = np.where(known, np.sqrt(center * (1 - center) / size), np.nan)
    spread = 1.0
    if widened and 0 < center < 1:
        distance = (values[chosen] - center) / sigma[chosen]
        spread = float(np.abs(np.diff(distance)).mean() / _D2_OF_TWO)
        sigma = sigma * spread
    reach = SIGMAS * sigma
    return ControlChart(values, center, sigma, np.maximum(center - reach, 0), np.minimum(center + reach, 1), spread)


def xbar_s_charts(
    means: ArrayLike, deviations: ArrayLike, sizes: ArrayLike, baseline: Flags | None = None
) -> tuple[ControlChart, ControlChart]:
    """Charts of subgroups' means and of their standard deviations, with subgroups of unequal size (Montgomery 6.3.2).

    `deviations` are those of samples (divided by n - 1); subgroups of fewer than two values are not drawn. Raises
    ValueError when the baseline holds too few subgroups.
    """
    x, s, n = (np.asarray(one, np.float64) for one in (means, deviations, sizes))
    known = (n >= 2) & np.isfinite(x) & np.isfinite(s)
    chosen = _chosen(known, baseline)
    center = float((n[chosen] * x[chosen]).sum() / n[chosen].sum())
    pooled = float(np.sqrt(((n[chosen] - 1) * s[chosen] ** 2).sum() / (n[chosen] - 1).sum()))
    size = np.where(known, n, 2)
    # the book divides the pooled deviation by c4 for X̄ and centres S on it: A3, B3 and B4 hold both
    unbiased = np.array([c4(int(one)) for one in size])
    of_mean = np.where(known, pooled / (unbiased * np.sqrt(size)), np.nan)
    of_spread = np.where(known, pooled * np.sqrt(1 - unbiased**2) / unbiased, np.nan)
    x, s = np.where(known, x, np.nan), np.where(known, s, np.nan)
    return (
        ControlChart(x, center, of_mean, center - SIGMAS * of_mean, center + SIGMAS * of_mean),
        ControlChart(s, pooled, of_spread, np.maximum(pooled - SIGMAS * of_spread, 0), pooled + SIGMAS * of_spread),
    )


def c4(size: int) -> float:
    """What the standard deviation of a normal sample of `size` values is on average, in true ones (Montgomery, VI)."""
    return sqrt(2 / (size - 1)) * exp(lgamma(size / 2) - lgamma((size - 1) / 2))


def broken_rules(chart: ControlChart, rules: RuleSet = RuleSet.WESTERN_ELECTRIC) -> list[tuple[str, ...]]:
    """For each point the rules whose pattern it completes, by name; empty where it is as expected."""
    z = chart.standardised
    marked = {name: test(z) for name, test in RULES[rules].items()}
    return [tuple(name for name, flags in marked.items() if flags[at]) for at in range(len(z))]


def _beyond(z: Floats) -> Flags:
    return np.abs(z) > SIGMAS


def _of_last(z: Floats, wanted: int, window: int, distance: float) -> Flags:
    """`wanted` of the last `window` points are further out than `distance`, this one among them, on one side."""
    found = np.zeros(len(z), bool)
    for side in (1, -1):
        out = side * z > distance
        found |= out & (_sums(out, window) >= wanted)
    return found


def _run(holds: Flags, length: int) -> Flags:
    return np.asarray(_sums(holds, length) == length)


def _one_side(z: Floats, length: int) -> Flags:
    return _run(z > 0, length) | _run(z < 0, length)


def _trend(z: Floats, points: int) -> Flags:
    step = np.diff(z, prepend=np.nan)
    return _run(step > 0, points - 1) | _run(step < 0, points - 1)


def _alternating(z: Floats, points: int) -> Flags:
    step = np.diff(z, prepend=np.nan)
    turned = np.concatenate([[False], step[1:] * step[:-1] < 0]) if len(z) else np.zeros(0, bool)
    return _run(turned, points - 2)


def _sums(flags: Flags, window: int) -> NDArray[np.int64]:
    """How many of the last `window` flags are set, at each place."""
    total = np.concatenate([[0], np.cumsum(flags)])
    begin = np.maximum(np.arange(1, len(flags) + 1) - window, 0)
    return np.asarray(total[1:] - total[begin], np.int64)


RULES: Mapping[RuleSet, Mapping[str, Callable[[Floats], Flags]]] = {
    RuleSet.WESTERN_ELECTRIC: {
        "one beyond 3σ": _beyond,
        "two of three beyond 2σ": lambda z: _of_last(z, 2, 3, 2),
        "four of five beyond 1σ": lambda z: _of_last(z, 4, 5, 1),
        "eight on one side": lambda z: _one_side(z, 8),
    },
    RuleSet.NELSON: {
        "one beyond 3σ": _beyond,
        "nine on one side": lambda z: _one_side(z, 9),
        "six rising or falling": lambda z: _trend(z, 6),
        "fourteen up and down": lambda z: _alternating(z, 14),
        "two of three beyond 2σ": lambda z: _of_last(z, 2, 3, 2),
        "four of five beyond 1σ": lambda z: _of_last(z, 4, 5, 1),
        "fifteen within 1σ": lambda z: _run(np.abs(z) < 1, 15),
        "eight beyond 1σ on both sides": lambda z: _run(np.abs(z) > 1, 8),
    },
}
"""Name to test; a test gets standardised points and says which of them complete its pattern."""


def _chosen(known: Flags, baseline: Flags | None) -> Flags:
    chosen = known if baseline is None else known & np.asarray(baseline, bool)
    if (count := int(chosen.sum())) < LEAST_BASELINE:
        raise ValueError(
            f"the baseline holds {count} points with data, at least {LEAST_BASELINE} are needed for limits: choose a "
            "longer one, or shorter intervals"
        )
    return chosen
