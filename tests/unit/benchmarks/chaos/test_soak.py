"""What a soak tells of its samples."""

from __future__ import annotations

from rich.console import Console

from benchmarks.chaos.soak import Sample, grown, show

MEBI = 2**20


def told(samples: list[Sample]) -> str:
    console = Console(width=120)
    with console.capture() as captured:
        show(console, samples)
    return captured.get()


def test_it_compares_the_second_quarter_with_the_last() -> None:
    samples = [
        Sample(
            seconds=60.0 * minute,
            memory={"score": (100 + minute) * MEBI},
            handles={"score": 50},
            disk=minute * MEBI,
            p50=None if minute == 15 else 300.0,
            p99=900.0,
        )
        for minute in range(16)
    ]
    lines = [line.split() for line in told(samples).splitlines()]
    assert lines[0] == ["what", *["minutes", "4", "to", "7"], *["minutes", "12", "to", "15"]]
    assert ["memory", "of", "score,", "MiB", "106", "114"] in lines
    assert ["disk,", "MiB", "6", "14"] in lines
    assert ["capture", "to", "verdict,", "median,", "ms", "300", "300"] in lines


def test_without_samples_it_tells_nothing() -> None:
    assert told([]) == ""
    assert grown([]) == []


def hour(minutes: int, memory: int, p50: float, disk: int) -> list[Sample]:
    """Each grows by as much every minute, after 400 MiB, 200 ms and nothing."""
    return [
        Sample(
            seconds=60.0 * minute,
            memory={"score": (400 + memory * minute) * MEBI},
            handles={"score": 200},
            disk=disk * minute * MEBI,
            p50=200.0 + p50 * minute,
            p99=900.0,
        )
        for minute in range(minutes)
    ]


def test_what_grows_over_an_hour_is_named_and_the_disk_may() -> None:
    assert grown(hour(60, memory=2, p50=0.5, disk=40)) == []
    assert grown(hour(60, memory=5, p50=0.5, disk=40)) == [
        "memory of score, MiB: 510 in the second quarter of the time, 660 in the last"
    ]
    assert grown(hour(60, memory=0, p50=4, disk=40)) == [
        "capture to verdict, median, ms: 288 in the second quarter of the time, 408 in the last"
    ]


def test_what_is_too_short_to_be_flat_is_not_judged() -> None:
    assert grown(hour(20, memory=50, p50=40, disk=0)) == []
