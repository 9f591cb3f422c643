from __future__ import annotations

from benchmarks.chaos.gauge import first_full_window

RATE = 20.0


def samples(counts: list[int]) -> list[tuple[float, int]]:
    """Ten samples a second, from second 100 on."""
    return [(100 + place / 10, count) for place, count in enumerate(counts)]


def test_a_line_that_never_stalled_has_its_rate_after_one_window() -> None:
    steady = samples([2 * place for place in range(50)])
    seconds = first_full_window(steady, 101.0, RATE)
    assert seconds is not None
    assert 1.0 <= seconds <= 1.11


def test_a_stall_of_two_seconds_ends_with_the_first_full_window() -> None:
    counts = [2 * place for place in range(10)] + [20] * 20 + [20 + 2 * place for place in range(1, 20)]
    seconds = first_full_window(samples(counts), 101.0, RATE)
    assert seconds is not None
    # frames come again after 2 s, and 90 % of a window after it is enough
    assert 2.7 <= seconds <= 3.1


def test_a_line_that_stands_still_has_no_full_window() -> None:
    assert first_full_window(samples([20] * 100), 101.0, RATE) is None
    assert first_full_window([], 101.0, RATE) is None
