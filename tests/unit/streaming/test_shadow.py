"""Challengers beside champions: what is recorded, and that a challenger can do nothing to a champion's verdict."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.doubles import write_brightness_bundle
from models.runtime.card import DetectorCard
from models.runtime.decode import decode
from models.runtime.scores import Scores
from sightline import codec, samples
from sightline.contracts import Inspection, ShadowInspection, SourceOffset, Verdict
from sightline.errors import DetectorError
from sightline.settings import Topics
from streaming.detectors import CHALLENGERS, CHAMPIONS, Bundle, DetectorSet, write_pointer
from streaming.records import Outgoing, Record
from streaming.shadow import Challengers, Shadow, chosen
from streaming.worker import FrameJudge

TOPICS = Topics()


@dataclass
class Brightness:
    """Scores a picture by its mean brightness; raises what `fails` gives for one of its pictures."""

    card: DetectorCard
    fails: Callable[[float], Exception | None] = lambda _: None
    seen: list[NDArray[np.uint8]] = field(default_factory=list)

    def score(self, images: NDArray[np.uint8]) -> Scores:
        self.seen.append(images)
        means = images.reshape(len(images), -1).mean(axis=1).astype(np.float32)
        for mean in means:
            if error := self.fails(float(mean)):
                raise error
        return Scores(np.broadcast_to(means[:, None, None], (len(images), 8, 8)).copy(), means)


class Plant:
    """A champion, a challenger with a lower threshold, and the worker that asks both."""

    def __init__(self, folder: Path, fraction: float = 1.0) -> None:
        card = write_brightness_bundle(folder / "card", threshold=200)
        self.folder = folder
        self.champion = Brightness(card)
        self.challenger = Brightness(replace(card, threshold=160.0))
        self.may_load = threading.Event()
        self.may_load.set()
        self.name(CHAMPIONS, "1")
        self.name(CHALLENGERS, "2")
        self.challengers = Challengers(folder, self._slowly)
        shadow = Shadow(self.challengers, TOPICS.shadow, fraction)
        self.judge = FrameJudge(DetectorSet(folder, lambda _: self.champion), TOPICS, 0.0, shadow=shadow)

    def _slowly(self, _: Path) -> Brightness:
        assert self.may_load.wait(20)
        return self.challenger

    def name(self, pointer: str, version: str | None) -> None:
        bundle = Bundle(name="n", version=version, digest=version, folder="f") if version else None
        write_pointer(self.folder / pointer, {"bottle_cap": bundle} if bundle else {})

    def refresh(self) -> None:
        self.judge.refresh()
        self.challengers.wait()

    def both(self, *records: Record) -> tuple[list[Inspection], list[ShadowInspection]]:
        return inspections(self.judge.judge(records)), shadows(self.judge.shadows())


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


def record(sequence: int, brightness: int) -> Record:
    _, jpeg = cv2.imencode(".jpg", np.full((480, 640, 3), brightness, np.uint8))
    frame = replace(samples.frame(sequence=sequence, label="good"), jpeg=jpeg.tobytes())
    source = SourceOffset(topic="frames", partition=0, offset=sequence)
    return Record(frame.camera.encode(), frame.jpeg, [*codec.frame_headers(frame)], source, samples.START)


def inspections(outgoing: list[Outgoing]) -> list[Inspection]:
    assert all(one.topic != TOPICS.shadow for one in outgoing)
    return [codec.decode(Inspection, one.value or b"") for one in outgoing if one.topic == TOPICS.inspections]


def shadows(outgoing: list[Outgoing]) -> list[ShadowInspection]:
    assert {one.topic for one in outgoing} <= {TOPICS.shadow}
    return [codec.decode(ShadowInspection, one.value or b"") for one in outgoing]


def test_both_verdicts_are_recorded_under_their_own_names(plant: Plant) -> None:
    plant.refresh()
    judged, beside = plant.both(record(0, 100), record(1, 180), record(2, 230))
    assert [(one.sequence, one.verdict, one.detector.version) for one in judged] == [
        (0, Verdict.OK, "1"), (1, Verdict.REVIEW, "1"), (2, Verdict.DEFECT, "1"),
    ]  # fmt: skip
    assert [(one.sequence, one.verdict, one.detector.version, one.threshold) for one in beside] == [
        (0, Verdict.OK, "2", 160.0), (1, Verdict.DEFECT, "2", 160.0), (2, Verdict.DEFECT, "2", 160.0),
    ]  # fmt: skip
    assert [one.score for one in beside] == [one.score for one in judged]
    assert [one.thumbnail is None for one in beside] == [True, False, False]
    assert {one.label for one in beside} == {"good"}
    assert not {one.inspection_id for one in beside} & {one.inspection_id for one in judged}


@pytest.mark.parametrize("error", [DetectorError("not finite"), MemoryError("no room"), ZeroDivisionError("by 0")])
def test_a_challenger_that_fails_on_a_frame_costs_nobody_but_itself(plant: Plant, error: Exception) -> None:
    plant.challenger.fails = lambda mean: error if mean < 5 else None
    plant.refresh()
    judged, beside = plant.both(record(0, 100), record(1, 0), record(2, 230))
    assert [one.verdict for one in judged] == [Verdict.OK, Verdict.OK, Verdict.DEFECT]
    assert [(one.verdict, one.score is None) for one in beside] == [
        (Verdict.OK, False), (None, True), (Verdict.DEFECT, False),
    ]  # fmt: skip
    assert beside[1].error == f"{type(error).__name__}: {error}"


def test_a_failing_challenger_is_logged_once_a_version(plant: Plant, caplog: pytest.LogCaptureFixture) -> None:
    plant.challenger.fails = lambda _: DetectorError("broken")
    plant.refresh()
    plant.both(*(record(number, 100) for number in range(4)))
    plant.both(record(4, 100))
    assert len([one for one in caplog.records if one.getMessage() == "challenger fails"]) == 1


def test_no_frame_waits_for_a_challenger_that_is_still_loading(plant: Plant) -> None:
    plant.may_load.clear()
    plant.judge.refresh()
    judged, beside = plant.both(record(0, 230))
    assert ([one.verdict for one in judged], beside) == ([Verdict.DEFECT], [])
    plant.may_load.set()
    plant.challengers.wait()
    judged, beside = plant.both(record(1, 230))
    assert len(judged) == len(beside) == 1


def test_a_challenger_that_cannot_be_loaded_is_as_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plant = Plant(tmp_path)

    def refuse(_: Path) -> Brightness:
        raise DetectorError("bad weights")

    plant.challengers._load = refuse
    plant.refresh()
    judged, beside = plant.both(record(0, 230))
    assert (len(judged), beside) == (1, [])
    assert [one.error for one in caplog.records if one.getMessage() == "challenger refused"] == ["bad weights"]


def test_a_challenger_goes_with_its_alias_and_never_stands_beside_itself(plant: Plant) -> None:
    plant.refresh()
    assert len(plant.both(record(0, 100))[1]) == 1
    plant.name(CHALLENGERS, None)
    plant.refresh()
    assert plant.both(record(1, 100))[1] == []
    plant.name(CHALLENGERS, "1")
    plant.refresh()
    assert plant.both(record(2, 100))[1] == []


@pytest.mark.parametrize(("side", "again"), [(64, 0), (32, 3)])
def test_a_picture_is_decoded_again_only_for_another_size(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, side: int, again: int
) -> None:
    plant.challenger.card = replace(plant.challenger.card, input_height=side, input_width=side)
    decoded: list[str] = []

    def counting(where: str) -> Callable[..., object]:
        def count(*arguments: object) -> object:
            decoded.append(where)
            return decode(*arguments)  # type: ignore[arg-type]

        return count

    for module in ("models.runtime.decode", "streaming.shadow"):
        monkeypatch.setattr(f"{module}.decode", counting(module))
    plant.refresh()
    plant.both(*(record(number, 100) for number in range(3)))
    assert decoded == ["models.runtime.decode"] * 3 + ["streaming.shadow"] * again
    assert plant.challenger.seen[0].shape == (3, side, side, 3)


def test_only_frames_of_the_fraction_are_scored_and_a_replay_chooses_alike(tmp_path: Path) -> None:
    plant = Plant(tmp_path, fraction=0.5)
    plant.refresh()
    frames = [record(number, 100) for number in range(40)]
    first, again = plant.both(*frames)[1], plant.both(*frames)[1]
    assert [one.inspection_id for one in first] == [one.inspection_id for one in again]
    assert [one.sequence for one in first] == [n for n in range(40) if chosen("cam-1", n, 0.5)]
    assert 8 < len(first) < 32


@settings(deadline=None)
@given(camera=st.text(max_size=20), sequence=st.integers(0, 2**63 - 1), fraction=st.floats(0, 1))
def test_a_larger_fraction_keeps_what_a_smaller_one_chose(camera: str, sequence: int, fraction: float) -> None:
    assert chosen(camera, sequence, 1.0)
    assert not chosen(camera, sequence, 0.0)
    assert not chosen(camera, sequence, fraction / 2) or chosen(camera, sequence, fraction)
