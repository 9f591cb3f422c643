"""Archived pictures, good and bad, through one detector."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models import registry
from models.doubles import write_brightness_bundle
from models.registry import RegisteredDetector
from models.runtime.card import DetectorCard, load_card, save_card
from models.runtime.scorer import load_scorer
from models.runtime.scores import Scores
from models.runtime.view import open_view
from sightline.contracts import Verdict
from sightline.errors import DetectorError, RegistryError
from streaming.picture_judge import PictureJudge, judge_for, plan_for


def grey(level: int, ending: str = ".png") -> bytes:
    return bytes(cv2.imencode(ending, np.full((64, 64, 3), level, np.uint8))[1])


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Defect from brightness 200, review from 150; of good frames 0.5 % and 2.5 % are that bright."""
    card = write_brightness_bundle(tmp_path / "bundle")
    save_card(replace(card, calibration={"false_alarm_rate": 0.005, "review_rate": 0.025}), tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def judge(bundle: Path) -> PictureJudge:
    return PictureJudge(load_scorer(bundle))


def test_classes_scores_and_shares_of_good_frames(judge: PictureJudge) -> None:
    low, band, high = judge.judge([grey(50), grey(175), grey(201, ".jpg")])
    assert [answer.verdict for answer in (low, band, high)] == [Verdict.OK, Verdict.REVIEW, Verdict.DEFECT]
    assert low.score == pytest.approx(50, abs=2)
    for answer in (low, band, high):
        assert answer.error is None
        assert answer.ok is not None and answer.defect is not None
        assert answer.ok + answer.defect == pytest.approx(1)
    assert low.confidence == low.ok
    assert band.confidence == band.defect
    assert 0.975 < (band.defect or 0) < 0.995 < (high.confidence or 0)


def test_without_rates_on_the_card_there_are_no_probabilities(tmp_path: Path) -> None:
    write_brightness_bundle(tmp_path)
    (answer,) = PictureJudge(load_scorer(tmp_path)).judge([grey(220)])
    assert answer.verdict is Verdict.DEFECT
    assert (answer.ok, answer.defect, answer.confidence) == (None, None, None)


def test_every_picture_has_its_answer_in_its_place(judge: PictureJudge, tmp_path: Path) -> None:
    """More than a batch, with every kind of fault between good pictures."""
    spaced = tmp_path / "a b.png"
    spaced.write_bytes(grey(90))
    faults = [
        None,
        b"",
        b"text",
        grey(10, ".jpg")[:-300],
        str(tmp_path / "none.png"),
        str(tmp_path),
        "s3://b/x.jpg",
        "\0",
    ]
    places = [spaced.as_posix(), f"file:{spaced}", spaced.as_uri()]
    pictures = [one for fault in faults for one in (fault, grey(30), *places)]
    answers = judge.judge(pictures)
    assert len(answers) == len(pictures)
    reasons = [(answer.error or "none").split(":")[0] for answer in answers[:: 2 + len(places)]]
    assert reasons == ["empty", "empty", "undecodable", "truncated", *["unreadable"] * 4]
    for start in range(0, len(answers), 2 + len(places)):
        fault, dark, *files = answers[start : start + 2 + len(places)]
        assert (fault.verdict, fault.score, fault.ok, fault.anomaly_map) == (None, None, None, None)
        assert dark.score == pytest.approx(30, abs=2)
        assert [answer.score for answer in files] == [pytest.approx(90, abs=2)] * len(places)
    assert "binaryFile" in (answers[6 * (2 + len(places))].error or "")


class Fragile:
    """Fails for a batch with a black picture in it."""

    def __init__(self, card: DetectorCard) -> None:
        self.card = card

    def score(self, images: NDArray[np.uint8]) -> Scores:
        means = images.reshape(len(images), -1).mean(axis=1).astype(np.float32)
        if (means == 0).any():
            raise DetectorError("scores that are not finite")
        return Scores(np.broadcast_to(means[:, None, None], (len(images), 8, 8)).copy(), means)


def test_a_picture_that_cannot_be_scored_costs_nobody_else(bundle: Path) -> None:
    found = PictureJudge(Fragile(load_card(bundle))).judge([grey(60), grey(0), grey(210)])
    assert [answer.verdict for answer in found] == [Verdict.OK, None, Verdict.DEFECT]
    assert (found[1].error or "").startswith("scoring-failed: ")


def test_a_view_cuts_the_picture_and_its_map_lies_over_the_whole(bundle: Path) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, 32:] = 220
    data = bytes(cv2.imencode(".png", picture)[1])
    scorer = load_scorer(bundle)
    (whole,) = PictureJudge(scorer).judge([data])
    (left,) = PictureJudge(scorer, open_view((0, 0, 28, 64), None, "--")).judge([data])
    assert (whole.verdict, left.verdict) == (Verdict.DEFECT, Verdict.OK)
    (right,) = PictureJudge(scorer, open_view((36, 0, 28, 64), None, "--")).judge([data])
    assert right.verdict is Verdict.DEFECT
    assert right.anomaly_map is not None
    assert right.anomaly_map[:, : right.anomaly_map.shape[1] // 2].max() == 0


@pytest.mark.parametrize(
    ("asked", "backend"), [("onnx", "onnxruntime"), ("openvino", "openvino"), ("pytorch", "torch")]
)
def test_backends_have_the_names_that_engineers_use(bundle: Path, asked: str, backend: str) -> None:
    assert plan_for(bundle, asked).backend == backend


def test_an_unknown_backend_names_the_known_ones(bundle: Path) -> None:
    with pytest.raises(DetectorError, match="backend is 'tensorflow', expected one of pytorch, onnx, openvino"):
        plan_for(bundle, "tensorflow")


def test_a_bundle_that_changed_after_planning_judges_nothing(bundle: Path) -> None:
    plan = plan_for(bundle)
    assert judge_for(plan) is judge_for(dataclasses.replace(plan))
    save_card(replace(load_card(bundle), threshold=220.0), bundle)
    judge_for.cache_clear()
    with pytest.raises(DetectorError, match="was changed"):
        judge_for(plan)


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A registry that holds bundles of a product, of which one is champion."""
    current = RegisteredDetector("sightline.cap", "cap", "1", "1" * 64)

    def champion(version: str) -> None:
        nonlocal current
        current = RegisteredDetector("sightline.cap", "cap", version, version * 64)

    def fetch(detector: RegisteredDetector, folder: Path, *_: object) -> Path:
        write_brightness_bundle(folder, "cap")
        return folder

    monkeypatch.setattr(registry, "find", lambda target, settings: current)
    monkeypatch.setattr(registry, "fetch", fetch)
    return champion


def test_registered_detectors_are_named_by_version_and_few_stay_on_disk(
    versions: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIGHTLINE_RUN", str(tmp_path / "run"))
    for version in "12345":
        versions(version)
        plan = plan_for("cap")
        assert plan.version == version
        assert Path(plan.folder).is_dir()
    assert len(list((tmp_path / "run" / "batch" / "cap").iterdir())) == registry.KEPT_BUNDLES


def test_without_a_name_the_only_champion_judges_and_several_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    champion = RegisteredDetector(name="n", product="cap", version="1", digest="d")
    found = {"cap": champion}
    monkeypatch.setattr(registry, "champions", lambda settings: found)
    monkeypatch.setattr(registry, "find", lambda target, settings: (_ for _ in ()).throw(RegistryError(target)))
    with pytest.raises(RegistryError, match=r"^cap$"):
        plan_for(None)
    found["gear"] = champion
    with pytest.raises(RegistryError, match="2 products have a champion: cap, gear; name one"):
        plan_for(None)
    found.clear()
    with pytest.raises(RegistryError, match="there is no champion"):
        plan_for(None)
