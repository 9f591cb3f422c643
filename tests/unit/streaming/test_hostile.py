"""Frames as no camera should send them: each is judged right or becomes a dead letter with its reason."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import pytest

from sightline.contracts import Reason
from streaming.hostile import from_picture, hostile_frames
from streaming.hostile_pictures import ANY, PICTURES, HostilePicture
from streaming.hostile_run import judge_all, peak_mb

CORPUS = sorted((Path(__file__).parent / "hostile_corpus").glob("*.bin"))


def test_every_kind_has_a_fate_that_it_may_have_and_memory_stays_bounded(tmp_path: Path) -> None:
    outcome = judge_all(islice(hostile_frames(7), 300), tmp_path)
    assert outcome.faults == []
    assert outcome.frames == sum(outcome.fates.values()) == 300
    seen = {kind for kind, _ in outcome.fates}
    assert seen >= {*PICTURES, "missing-header", "forged-header", "unknown-schema", "huge-key", "noise"}
    # one progressive bomb alone would take 370 MB more
    assert outcome.peak_mb - outcome.before_mb < 250


def test_the_same_seed_makes_the_same_frames() -> None:
    first, again, other = ([frame.record for frame in islice(hostile_frames(seed), 80)] for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("path", CORPUS, ids=[path.stem for path in CORPUS])
def test_what_a_fuzzer_found_has_a_fate(path: Path, tmp_path: Path) -> None:
    picture = HostilePicture(path.read_bytes(), ANY)
    outcome = judge_all([from_picture(path.stem, picture, random.Random(0), 0)], tmp_path)
    assert outcome.faults == []


@pytest.mark.parametrize("kind", ["progressive-bomb", "scan-bomb"])
def test_a_bomb_is_refused_before_it_costs_memory_or_time(kind: str, tmp_path: Path) -> None:
    before = peak_mb()
    frames = [
        from_picture(kind, PICTURES[kind](random.Random(number)), random.Random(0), number) for number in range(5)
    ]
    outcome = judge_all(frames, tmp_path)
    assert outcome.fates == {(kind, Reason.TOO_LARGE.value): 5}
    assert peak_mb() - before < 100
