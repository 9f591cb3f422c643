"""What a soak tells of its samples."""

from __future__ import annotations

from rich.console import Console

from benchmarks.chaos.soak import Sample, show

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
