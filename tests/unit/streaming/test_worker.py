"""What one worker makes of good, bad and mixed records, with a scorer that needs no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from models.doubles import write_brightness_bundle
from models.runtime.card import DetectorCard
from models.runtime.decode import Decode, decode_each
from models.runtime.nvjpeg import BatchDecoder
from models.runtime.scorer import load_scorer
from models.runtime.scores import Scores
from models.runtime.view import Box, View, open_view
from sightline import codec
from sightline.contracts import DeadLetter, Frame, Inspection, Reason, SourceOffset, Verdict
from sightline.errors import DetectorError
from sightline.settings import Topics
from streaming.detectors import CHAMPIONS, Bundle, DetectorSet, write_pointer
from streaming.records import OUTGOING, Outgoing, Record, read_records, to_arrow
from streaming.worker import FrameJudge

TOPICS = Topics()
START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def make_card(version: str = "1") -> DetectorCard:
    return DetectorCard(
        name="sightline.washer",
        product="washer",
        method="brightness",
        input_height=64,
        input_width=64,
        color_order="RGB",
        map_rows=8,
        map_cols=8,
        threshold=200.0,
        review_threshold=150.0,
        map_scale=255.0,
        calibration={},
        metrics={},
        data_digest="0" * 64,
        run_id=None,
        created_at=START,
        parameters={"version": version},
    )


@dataclass
class BrightnessScorer:
    """Scores a frame by its mean brightness; fails for a batch that holds a pure black frame."""

    card: DetectorCard = field(default_factory=make_card)
    batches: list[int] = field(default_factory=list)

    def score(self, images: NDArray[np.uint8]) -> Scores:
        self.batches.append(len(images))
        means = images.reshape(len(images), -1).mean(axis=1).astype(np.float32)
        if (means == 0).any():
            raise DetectorError("scores that are not finite")
        return Scores(np.broadcast_to(means[:, None, None], (len(images), 8, 8)).copy(), means)


@pytest.fixture
def scorer() -> BrightnessScorer:
    return BrightnessScorer()


@pytest.fixture
def decode() -> Callable[[], Decode]:
    return lambda: decode_each


@pytest.fixture
def judge(tmp_path: Path, scorer: BrightnessScorer, decode: Callable[[], Decode]) -> FrameJudge:
    champion = Bundle(name="sightline.washer", version="7", digest="d" * 64, folder=str(tmp_path / "bundle"))
    write_pointer(tmp_path / CHAMPIONS, {"washer": champion})
    detectors = DetectorSet(tmp_path, lambda _: scorer)
    judge = FrameJudge(detectors, TOPICS, archive_ok_fraction=0.0, decode=decode())
    judge.refresh()
    return judge


def picture(brightness: int, width: int = 160, height: int = 120) -> bytes:
    done, jpeg = cv2.imencode(".jpg", np.full((height, width, 3), brightness, np.uint8))
    assert done
    return jpeg.tobytes()


def record(sequence: int = 0, brightness: int = 100, **changes: object) -> Record:
    frame = Frame(
        line="north",
        camera="cam-1",
        sequence=sequence,
        captured_at=START + timedelta(milliseconds=sequence),
        product="washer",
        width=160,
        height=120,
        jpeg=picture(brightness),
        label="good",
    )
    frame = replace(frame, **changes)
    return Record(
        key=frame.camera.encode(),
        value=frame.jpeg,
        headers=[*codec.frame_headers(frame)],
        source=SourceOffset(topic="frames", partition=1, offset=sequence),
        ingested_at=START + timedelta(seconds=1),
    )


def inspections(outgoing: list[Outgoing]) -> list[Inspection]:
    return [codec.decode(Inspection, out.value or b"") for out in outgoing if out.topic == TOPICS.inspections]


def dead_letters(outgoing: list[Outgoing]) -> list[DeadLetter]:
    return [
        codec.dead_letter_from_record(out.key, out.value, out.headers)
        for out in outgoing
        if out.topic == TOPICS.dead_letters
    ]


def test_each_verdict_names_detector_threshold_and_source(judge: FrameJudge) -> None:
    found = inspections(judge.judge([record(0, 100), record(1, 170), record(2, 230)]))
    assert [one.verdict for one in found] == [Verdict.OK, Verdict.REVIEW, Verdict.DEFECT]
    assert {(one.detector.version, one.threshold) for one in found} == {("7", 200.0)}
    assert [one.source.offset for one in found] == [0, 1, 2]
    assert all(one.timings.decoded_at <= one.timings.scored_at for one in found)
    assert {one.label for one in found} == {"good"}


def test_only_a_defect_carries_a_picture_in_the_frames_aspect(judge: FrameJudge) -> None:
    ok, defect = inspections(judge.judge([record(0, 100), record(1, 230)]))
    assert ok.thumbnail is None
    assert ok.regions == ()
    assert defect.thumbnail is not None
    shape = cv2.imdecode(np.frombuffer(defect.thumbnail, np.uint8), cv2.IMREAD_COLOR).shape
    assert shape == (144, 192, 3)
    assert (defect.regions[0].width, defect.regions[0].height) == (160, 120)


@pytest.mark.parametrize(
    "decode", [lambda: decode_each, lambda: BatchDecoder("cpu")], ids=["one by one", "all at once"]
)
def test_a_bad_frame_does_not_cost_its_batch_mates(judge: FrameJudge) -> None:
    whole = picture(100)
    broken = {
        Reason.TRUNCATED: record(1)._replace(value=whole[: len(whole) // 2]),
        Reason.NOT_JPEG: record(2)._replace(value=b"hello, this is text"),
        Reason.EMPTY: record(3)._replace(value=None),
        Reason.MISSING_HEADER: record(4)._replace(headers=[("ce_type", codec.FRAME_TYPE.encode())]),
        Reason.UNKNOWN_SCHEMA: record(5)._replace(headers=[("ce_type", b"io.sightline.frame.v99")]),
        Reason.NO_DETECTOR: record(6, product="teapot"),
        Reason.SIZE_MISMATCH: record(7, width=99),
    }
    outgoing = judge.judge([record(0), *broken.values(), record(8)])
    assert [one.sequence for one in inspections(outgoing)] == [0, 8]
    letters = dead_letters(outgoing)
    assert [letter.reason for letter in letters] == list(broken)
    for letter, sent in zip(letters, broken.values(), strict=True):
        assert letter.value == sent.value
        assert letter.headers == tuple(sent.headers)
        assert letter.source == sent.source


def test_a_batch_the_detector_fails_on_is_scored_one_by_one(judge: FrameJudge) -> None:
    outgoing = judge.judge([record(0), record(1, brightness=0), record(2)])
    assert [one.sequence for one in inspections(outgoing)] == [0, 2]
    (letter,) = dead_letters(outgoing)
    assert (letter.reason, letter.sequence) == (Reason.SCORING_FAILED, 1)
    assert letter.message.startswith("detector 7: ")


def test_frames_of_one_product_are_scored_together(judge: FrameJudge, scorer: BrightnessScorer) -> None:
    judge.judge([record(number) for number in range(5)])
    assert scorer.batches == [5]


def test_a_replay_gives_the_same_ids_and_the_same_archive_choice(tmp_path: Path, scorer: BrightnessScorer) -> None:
    write_pointer(tmp_path / CHAMPIONS, {"washer": Bundle(name="n", version="7", digest="d", folder="f")})
    judge = FrameJudge(DetectorSet(tmp_path, lambda _: scorer), TOPICS, archive_ok_fraction=0.3)
    judge.refresh()
    frames = [record(number) for number in range(60)]
    first, again = judge.judge(frames), judge.judge(frames)
    assert [one.inspection_id for one in inspections(first)] == [one.inspection_id for one in inspections(again)]
    kept = [out.headers for out in first if out.topic == TOPICS.archive]
    assert kept == [out.headers for out in again if out.topic == TOPICS.archive]
    assert 5 < len(kept) < 35


def test_the_archive_keeps_review_and_defect_with_the_original_bytes(judge: FrameJudge) -> None:
    frames = [record(0, 100), record(1, 170), record(2, 230)]
    kept = [out for out in judge.judge(frames) if out.topic == TOPICS.archive]
    assert [out.value for out in kept] == [frames[1].value, frames[2].value]
    assert [dict(out.headers)["sightline.verdict"] for out in kept] == [b"review", b"defect"]


def test_arrow_in_and_out_keeps_every_field(judge: FrameJudge) -> None:
    sent = [record(0), record(1)._replace(value=None)]
    batch = pa.RecordBatch.from_pylist(
        [
            {
                "key": one.key,
                "value": one.value,
                "headers": [{"key": name, "value": data} for name, data in one.headers],
                "topic": one.source.topic,
                "partition": one.source.partition,
                "offset": one.source.offset,
                "timestamp": one.ingested_at,
            }
            for one in sent
        ]
    )
    assert list(read_records(batch)) == sent
    written = to_arrow(judge.judge(sent))
    assert written.schema == OUTGOING
    assert written.column("topic").to_pylist() == [TOPICS.inspections, TOPICS.dead_letters]
    assert to_arrow([]).num_rows == 0


def with_views(tmp_path: Path, scorer: BrightnessScorer, **views: View) -> FrameJudge:
    write_pointer(tmp_path / CHAMPIONS, {"washer": Bundle(name="n", version="7", digest="d", folder="f")})
    by_camera = {camera.replace("_", "-"): view for camera, view in views.items()}
    judge = FrameJudge(DetectorSet(tmp_path, lambda _: scorer), TOPICS, 0.0, by_camera)
    judge.refresh()
    return judge


def half_bright() -> bytes:
    """160 × 120 pixels: the left half black, the right half bright."""
    image = np.zeros((120, 160, 3), np.uint8)
    image[:, 80:] = 240
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 98])[1])


def test_a_region_is_judged_alone_and_told_in_pixels_of_the_frame(tmp_path: Path, scorer: BrightnessScorer) -> None:
    judge = with_views(tmp_path, scorer, cam_1=View(region=Box(96, 24, 64, 64)))
    seen, other = inspections(judge.judge([record(0, jpeg=half_bright()), record(1, jpeg=half_bright(), camera="b")]))
    assert (seen.verdict, other.verdict) == (Verdict.DEFECT, Verdict.OK)
    (box,) = seen.regions
    assert (box.x, box.y, box.width, box.height) == (96, 24, 64, 64)
    assert (seen.width, seen.height) == (160, 120)
    assert (seen.heat_map.rows, seen.heat_map.cols) == (15, 16)
    values = np.frombuffer(seen.heat_map.values, np.uint8).reshape(15, 16)
    assert values[3:11, 10:].min() > 200
    assert values[:3].max() == values[11:].max() == values[:, :9].max() == 0
    assert cv2.imdecode(np.frombuffer(seen.thumbnail or b"", np.uint8), cv2.IMREAD_COLOR).shape == (192, 192, 3)


def test_a_frame_that_its_view_was_not_made_for_is_a_dead_letter(tmp_path: Path, scorer: BrightnessScorer) -> None:
    judge = with_views(tmp_path, scorer, cam_1=View(key="[score.views.cam-1] ", region=Box(96, 24, 80, 64)))
    outgoing = judge.judge([record(0), record(1, camera="b")])
    assert [one.camera for one in inspections(outgoing)] == ["b"]
    (letter,) = dead_letters(outgoing)
    assert letter.reason is Reason.SIZE_MISMATCH
    assert "frame is 160x120, [score.views.cam-1] region = [96, 24, 80, 64] reaches to 176x88" in letter.message


def test_what_a_mask_leaves_aside_gives_no_verdict(tmp_path: Path) -> None:
    """A detector whose map is the brightness of each cell, on a picture that is bright on the right."""
    write_brightness_bundle(tmp_path / "bundle")
    scorer = load_scorer(tmp_path / "bundle", "onnxruntime")
    left = np.zeros((120, 160), np.uint8)
    left[:, :70] = 255
    path = tmp_path / "left.png"
    assert cv2.imwrite(str(path), left)
    judge = with_views(tmp_path, scorer, cam_1=open_view(None, path, ""))  # type: ignore[arg-type]
    masked, open_ = inspections(judge.judge([record(0, jpeg=half_bright()), record(1, jpeg=half_bright(), camera="b")]))
    assert (masked.verdict, open_.verdict) == (Verdict.OK, Verdict.DEFECT)
    assert masked.score < 20 < 230 < open_.score
    values = np.frombuffer(masked.heat_map.values, np.uint8).reshape(8, 8)
    assert values[:, 4:].max() == 0


def test_the_tally_tells_what_became_of_the_frames(judge: FrameJudge) -> None:
    """The black frame fails its batch, so that each of the others is scored alone once more."""
    judge.judge([record(0, 100), record(1, 230), record(2)._replace(value=None), record(3, 0)])
    assert judge.tally.scored == {("cam-1", "ok"): 1, ("cam-1", "defect"): 1}
    assert judge.tally.dead == {"empty": 1, "scoring-failed": 1}
    assert judge.tally.archived == 1
    assert sum(judge.tally.stages["open"].counts) == 1
    assert sum(judge.tally.stages["detect"].counts) == sum(judge.tally.stages["answer"].counts) == 2
