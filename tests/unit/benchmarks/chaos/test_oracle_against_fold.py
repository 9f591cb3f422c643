"""The oracle and the product tell incidents by two programs; on whatever a camera shows they must agree."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.chaos.line import RULE
from benchmarks.chaos.oracle import Verdict, incidents
from sightline import contracts, samples
from streaming.fold import AlertSettings, fold_all

POLICY = AlertSettings(
    window=RULE.window,
    defects=RULE.defects,
    close_after=RULE.close_after,
    cool_down_seconds=RULE.cool_down,
)

# tenths of a second to the frame before, whose silence may end an incident, and whether it is a defect
FRAMES = st.lists(st.tuples(st.sampled_from((1, 2, 2, 2, 5, 20, 21, 40)), st.booleans() | st.just(False)), max_size=80)


@settings(max_examples=300, deadline=None)
@given(FRAMES)
def test_both_tell_the_same_incidents(frames: list[tuple[int, bool]]) -> None:
    at, judged = samples.START, []
    for sequence, (pause, defect) in enumerate(frames):
        at += pause * timedelta(seconds=0.1)
        verdict = contracts.Verdict.DEFECT if defect else contracts.Verdict.OK
        score = 0.9 if defect else 0.1
        judged.append(replace(samples.inspection("cam", sequence, score=score, verdict=verdict), captured_at=at))
    told = {alert.first_sequence for alert in fold_all(judged, POLICY)}
    seen = [
        Verdict("cam", one.sequence, one.captured_at.timestamp(), one.verdict is contracts.Verdict.DEFECT)
        for one in judged
    ]
    assert {first for _, first in incidents(seen, RULE)} == told
