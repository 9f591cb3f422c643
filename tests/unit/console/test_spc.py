"""Control charts against the worked examples of Montgomery's book, and the rules against points drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest

from console.spc import ControlChart, RuleSet, broken_rules, c4, p_chart, xbar_s_charts

# Montgomery, table 7.1: cans that leak, of 50 each
ORANGE_JUICE = [12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22]
ORANGE_JUICE += [8, 10, 5, 13, 11, 20, 18, 24, 15, 9, 12, 7, 13, 9, 6]


def chart_of(*z: float) -> ControlChart:
    values = np.array(z)
    ones = np.ones(len(z))
    return ControlChart(values, 0.0, ones, -3 * ones, 3 * ones)


def test_fractions_have_the_limits_of_the_book() -> None:
    chart = p_chart(ORANGE_JUICE, [50] * 30)
    assert chart.center == pytest.approx(0.2313, abs=5e-5)
    assert (chart.upper[0], chart.lower[0]) == pytest.approx((0.4102, 0.0524), abs=1e-4)
    beyond = [at + 1 for at, rules in enumerate(broken_rules(chart)) if "one beyond 3σ" in rules]
    assert beyond == [15, 23]


def test_a_smaller_sample_has_wider_limits_that_stay_fractions() -> None:
    chart = p_chart([2] * 9 + [1], [100] * 9 + [10])
    # 19 of 910; sqrt(0.02088 * 0.97912 / 100) = 0.014298, and / 10 = 0.045214
    assert chart.center == pytest.approx(19 / 910)
    assert chart.upper[0] == pytest.approx(0.020879 + 3 * 0.014298, abs=1e-5)
    assert chart.upper[-1] == pytest.approx(0.020879 + 3 * 0.045214, abs=1e-5)
    assert (chart.lower == 0).all()


def test_limits_come_from_the_baseline_alone_and_an_empty_sample_is_no_point() -> None:
    baseline = np.arange(12) < 10
    chart = p_chart([5] * 10 + [30, 0], [100] * 11 + [0], baseline)
    assert chart.center == 0.05
    assert np.isnan(chart.values[-1])
    assert [bool(rules) for rules in broken_rules(chart)] == [False] * 10 + [True, False]


def test_bursts_widen_limits_only_when_asked() -> None:
    found, size = [10, 30] * 8, [1000] * 16
    plain, widened = p_chart(found, size), p_chart(found, size, widened=True)
    # each step is 20/1000 = 0.02, sigma is sqrt(0.02 * 0.98 / 1000) = 0.0044272: 4.5175 / 1.12838
    assert widened.spread == pytest.approx(4.0035, abs=1e-3)
    assert widened.upper[0] - widened.center == pytest.approx((plain.upper[0] - plain.center) * widened.spread)
    assert any(broken_rules(plain))
    assert not any("one beyond 3σ" in rules for rules in broken_rules(widened))


def test_too_short_a_baseline_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match="7 points with data, at least 8"):
        p_chart([1] * 7, [50] * 7)


@pytest.mark.parametrize(("size", "in_the_book"), [(2, 0.7979), (5, 0.9400), (10, 0.9727), (25, 0.9896)])
def test_c4_is_that_of_the_table(size, in_the_book) -> None:
    assert c4(size) == pytest.approx(in_the_book, abs=5e-5)


@pytest.mark.parametrize(("size", "a3", "b3", "b4"), [(5, 1.427, 0, 2.089), (25, 0.606, 0.565, 1.435)])
def test_means_and_deviations_have_the_limits_of_the_table(size, a3, b3, b4) -> None:
    x, s = xbar_s_charts([10.0] * 8, [2.0] * 8, [size] * 8)
    assert (x.center, s.center) == (10.0, 2.0)
    assert x.upper[0] == pytest.approx(10 + a3 * 2, abs=2e-3)
    assert (s.lower[0], s.upper[0]) == pytest.approx((b3 * 2, b4 * 2), abs=2e-3)


def test_larger_subgroups_weigh_more_and_single_values_are_left_out() -> None:
    x, s = xbar_s_charts([10.0] * 8 + [13.0, 99.0], [1.0] * 8 + [2.0, np.nan], [5] * 8 + [20, 1])
    # (8 * 5 * 10 + 20 * 13) / 60; sqrt((8 * 4 * 1 + 19 * 4) / (32 + 19))
    assert x.center == pytest.approx(11.0)
    assert s.center == pytest.approx(np.sqrt(108 / 51))
    assert np.isnan(x.values[-1])
    assert np.isnan(x.upper[-1])


@pytest.mark.parametrize(
    ("rules", "points", "broken"),
    [
        (RuleSet.WESTERN_ELECTRIC, (0, 3.1, -3.1), {"one beyond 3σ": [1, 2]}),
        (RuleSet.WESTERN_ELECTRIC, (2.1, 0, 2.1), {"two of three beyond 2σ": [2]}),
        (RuleSet.WESTERN_ELECTRIC, (2.1, -2.1, 0), {}),
        (RuleSet.WESTERN_ELECTRIC, (2.1, 2.1, 0), {"two of three beyond 2σ": [1]}),
        (RuleSet.WESTERN_ELECTRIC, (1.1, 1.1, 0, 1.1, 1.1), {"four of five beyond 1σ": [4]}),
        (RuleSet.WESTERN_ELECTRIC, (0.1,) * 9, {"eight on one side": [7, 8]}),
        (RuleSet.WESTERN_ELECTRIC, (0.1,) * 7 + (np.nan,) + (0.1,) * 7, {}),
        (RuleSet.NELSON, (0.1,) * 9, {"nine on one side": [8]}),
        (RuleSet.NELSON, (-0.3, -0.2, -0.1, 0.1, 0.2, 0.3), {"six rising or falling": [5]}),
        (RuleSet.NELSON, (0.5, -0.5) * 7, {"fourteen up and down": [13]}),
        (RuleSet.NELSON, (1.2, -1.2, -1.3, 1.2, 1.3, -1.2, -1.3, 1.2), {"eight beyond 1σ on both sides": [7]}),
        (RuleSet.NELSON, (0.5, 0.4, -0.5, -0.4, 0.1) * 3, {"fifteen within 1σ": [14]}),
    ],
)
def test_a_rule_marks_the_point_that_completes_its_pattern(rules, points, broken) -> None:
    marked: dict[str, list[int]] = {}
    for at, names in enumerate(broken_rules(chart_of(*points), rules)):
        for name in names:
            marked.setdefault(name, []).append(at)
    assert marked == broken
