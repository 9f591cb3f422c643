"""Frames as no camera should send them: each is judged right or becomes a dead letter with its reason."""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from sightline.contracts import Reason
from streaming.hostile import from_fuzzed, from_picture, hostile_frames
from streaming.hostile_pictures import PICTURES
from streaming.hostile_run import judge_all

CORPUS = sorted((Path(__file__).parent / "hostile_corpus").glob("*.bin"))


def test_every_kind_has_a_fate_that_it_may_have(tmp_path: Path) -> None:
    outcome = judge_all(islice(hostile_frames(7), 300), tmp_path)
    assert outcome.faults == []
    assert outcome.frames == sum(outcome.fates.values()) == 300
    seen = {kind for kind, _ in outcome.fates}
    assert seen >= {*PICTURES, "missing-header", "forged-header", "unknown-schema", "huge-key", "noise"}


def test_memory_stays_bounded(tmp_path: Path) -> None:
    # one progressive bomb alone would take 200 MB more
    assert memory_of("islice(hostile_frames(7), 300)", tmp_path) < 100


def test_the_same_seed_makes_the_same_frames() -> None:
    first, again, other = ([frame.record for frame in islice(hostile_frames(seed), 80)] for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("path", CORPUS, ids=[path.stem for path in CORPUS])
def test_what_a_fuzzer_found_has_a_fate(path: Path, tmp_path: Path) -> None:
    outcome = judge_all([from_fuzzed(path.stem, path.read_bytes())], tmp_path)
    assert outcome.faults == []


def test_a_fuzzer_has_found_both_pictures_and_headers() -> None:
    assert {path.read_bytes()[0] % 2 for path in CORPUS} == {0, 1}


def test_a_fuzzed_input_is_a_picture_or_headers_by_its_first_byte() -> None:
    sound = from_fuzzed("sound", b"\0").record
    assert from_fuzzed("picture", b"\x01GIF89a").record == sound._replace(key=b"cam-4", value=b"GIF89a")
    names = [name for name, _ in sound.headers]
    replace, remove, insert = b"\0\0\x03new", b"\x01\x01", b"\x02\0\x04name\xff"
    changed = from_fuzzed("headers", b"\0\x03" + replace + remove + insert + b"key").record
    assert changed.headers == [("name", None), (names[0], b"new"), *sound.headers[2:]]
    assert (changed.key, changed.value) == (b"key", sound.value)


@pytest.mark.parametrize("kind", ["progressive-bomb", "scan-bomb"])
def test_a_bomb_is_refused_before_it_costs_time(kind: str, tmp_path: Path) -> None:
    frames = [
        from_picture(kind, PICTURES[kind](random.Random(number)), random.Random(0), number) for number in range(5)
    ]
    assert judge_all(frames, tmp_path).fates == {(kind, Reason.TOO_LARGE.value): 5}


def test_a_bomb_is_refused_before_it_costs_memory(tmp_path: Path) -> None:
    bombs = "[from_picture('bomb', PICTURES['progressive-bomb'](Random(n)), Random(0), n) for n in range(5)]"
    assert memory_of(bombs, tmp_path) < 100


def memory_of(frames: str, folder: Path) -> float:
    """MB that judging these frames takes, in a process of their own: a peak of before would hide theirs."""
    code = f"""
from itertools import islice
from pathlib import Path
from random import Random
from streaming.hostile import from_fuzzed, from_picture, hostile_frames
from streaming.hostile_pictures import PICTURES
from streaming.hostile_run import judge_all
outcome = judge_all(list({frames}), Path({str(folder)!r}))
assert outcome.frames
print(outcome.peak_mb - outcome.before_mb)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(answer.stdout)
