"""What the demo shows of what it was told."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from infra.live import CameraView, View, latency_ms, render
from sightline import samples
from sightline.contracts import Verdict


def screen(view: View, width: int) -> str:
    console = Console(width=width, record=True, color_system=None)
    with console.capture() as shown:
        console.print(render(view, Path("run/alerts"), "Ctrl-C stops"))
    return shown.get()


@pytest.fixture
def view() -> View:
    view = View()
    inspection = samples.inspection()
    camera = view.camera(inspection.camera)
    camera.last = inspection
    camera.verdicts.update({Verdict.OK: 40, Verdict.REVIEW: 3, Verdict.DEFECT: 2})
    camera.dropped = 7
    camera.recent.extend((time.monotonic(), 0.1) for _ in range(30))
    alert = samples.alert()
    view.alerts[alert.alert_id] = alert
    view.detectors[inspection.product] = "3"
    return view


@pytest.mark.parametrize("width", [80, 120])
def test_the_screen_fits_and_names_what_matters(view: View, width: int) -> None:
    shown = screen(view, width)
    assert all(len(line) <= width for line in shown.splitlines())
    for word in ("45 frames inspected", "100 ms", samples.inspection().camera, "alerts: 1", "Ctrl-C stops"):
        assert word in shown


def test_an_empty_line_says_that_it_waits() -> None:
    assert "waiting for frames" in screen(View(), 100)


def test_latency_is_a_median_and_a_tail() -> None:
    assert latency_ms([]) is None
    spread = latency_ms([0.1] * 99 + [1.0])
    assert spread is not None
    assert spread[0] == pytest.approx(100)
    assert 100 < spread[1] <= 1000


def test_the_rate_counts_the_last_seconds_only() -> None:
    camera, now = CameraView(), 1000.0
    camera.recent.extend((now - age, 0.1) for age in (90, 60, 4, 3, 2, 1, 0))
    assert camera.rate(now) == pytest.approx(1.0)
    assert camera.rate(now + timedelta(minutes=1).total_seconds()) == 0
