"""What a challenger is refused for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models import gate
from models.gate import Policy, objections
from models.judging.judgement import Judgement, Speed
from sightline.errors import DetectorError


@pytest.fixture(autouse=True)
def alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtimes agree: the brightness detector has no PyTorch reference to compare with."""
    monkeypatch.setattr(gate, "prove_parity", lambda bundle, images: {})


def with_speed(judged: Judgement, ms: float) -> Judgement:
    return replace(judged, speeds=(Speed(1, ms, 1000 / ms, 30), Speed(16, ms, 1000 / ms, 30)))


def with_metrics(judged: Judgement, **metrics: float) -> Judgement:
    return replace(judged, metrics={**judged.metrics, **metrics})


def test_an_equal_challenger_passes(judged: Judgement) -> None:
    steady = with_speed(judged, 5)
    assert objections(steady, steady, Policy()) == []
    assert objections(steady, None, Policy()) == []


def test_a_worse_one_is_refused_with_each_metric(judged: Judgement) -> None:
    champion = with_metrics(with_speed(judged, 5), image_auroc=0.99, f1=0.9)
    challenger = with_metrics(champion, image_auroc=0.95, f1=0.8999)
    assert objections(challenger, champion, Policy(tolerance=0.001)) == [
        "image_auroc 0.9500 is below the champion's 0.9900"
    ]
    assert objections(challenger, champion, Policy(tolerance=0.05)) == []


def test_a_slower_one_is_refused_by_the_champions_pace_and_by_the_limit(judged: Judgement) -> None:
    said = objections(with_speed(judged, 8), with_speed(judged, 5), Policy(slower=0.25, most_ms=7))
    assert said == [
        "one frame takes 8.0 ms, allowed are 7 ms",
        "125 frames/s, the champion makes 200; 25% less is allowed",
    ]
    assert objections(with_speed(judged, 6), with_speed(judged, 5), Policy(slower=0.25)) == []


def test_runtimes_that_differ_are_an_objection(judged: Judgement, monkeypatch: pytest.MonkeyPatch) -> None:
    def differ(bundle: object, images: object) -> None:
        raise DetectorError("openvino differs from PyTorch by 2.0e-01 of the threshold")

    monkeypatch.setattr(gate, "prove_parity", differ)
    assert objections(with_speed(judged, 5), None, Policy()) == [
        "openvino differs from PyTorch by 2.0e-01 of the threshold"
    ]


def test_different_pictures_cannot_be_compared(judged: Judgement) -> None:
    other = replace(judged, samples=judged.samples[:-1])
    with pytest.raises(DetectorError, match="judged on 8 and 7 different pictures"):
        objections(judged, other, Policy(most_ms=1e6))
