"""What a retraining does with what it has found out."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from models import registry
from models.progress import quiet
from models.registry import RegisteredDetector
from models.retrain import (
    Outcome,
    Result,
    RetrainPolicy,
    _alone,
    _forgotten,
    _other_champion,
    _recipe,
    _view,
    decide,
)
from models.retrain_commands import _print
from models.retrain_reports import Tally, tally
from models.runtime.card import DetectorCard, load_card, save_card
from models.runtime.view import on_card, view_of
from sightline.errors import DetectorError, SourceError
from sightline.retraining import Report, ReportKind
from sightline.settings import RegistrySettings


@pytest.mark.parametrize(
    ("policy", "why", "result"),
    [
        (RetrainPolicy.PROPOSE, [], Result.PROPOSED),
        (RetrainPolicy.PROMOTE, [], Result.PROMOTED),
        (RetrainPolicy.PROPOSE, ["slower"], Result.REFUSED),
        (RetrainPolicy.PROMOTE, ["slower"], Result.REFUSED),
    ],
)
def test_no_policy_promotes_what_the_gate_objects_to(policy: RetrainPolicy, why: list[str], result: Result) -> None:
    assert decide(policy, why) is result


def test_a_challenger_is_champion_only_in_the_place_of_the_one_that_it_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = RegisteredDetector("sightline.cap", "cap", "3", "a" * 64)
    registered = RegistrySettings(tracking_uri="none")
    for now, said in (
        ({"cap": judged}, None),
        ({"cap": replace(judged, version="4", digest="b" * 64)}, "compared with version 3, and meanwhile version 4"),
        ({}, "the champion was taken away"),
    ):
        monkeypatch.setattr(registry, "champions", lambda _settings, now=now: now)
        other = _other_champion(judged, registered)
        assert other is said is None or (other and said and said in other)


def test_why_a_challenger_was_not_promoted_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    _print(Outcome(product="cap", result=Result.PROPOSED, champion="3", challenger="5", why=("another is champion",)))
    assert "version 5 is the challenger" in (said := capsys.readouterr().out)
    assert "  - another is champion" in said


def test_a_challenger_may_not_forget_what_the_champion_gets_right() -> None:
    assert _forgotten({"miss": Tally(4, 1, 3), "false-alarm": Tally(5, 0, 0)}) == []
    assert _forgotten({"confirmed": Tally(9, 8, 7)}) == ["confirmed: 7 of 9 reported frames right, the champion 8"]


def test_frames_that_were_learnt_are_counted_apart(bundle: Path, textures, tmp_path: Path) -> None:
    for number, image in enumerate(textures(4, 7)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    reports = [
        Report(kind=ReportKind.FALSE_ALARM, path="0.png", split="train"),
        Report(kind=ReportKind.FALSE_ALARM, path="1.png", split="test"),
        Report(kind=ReportKind.FALSE_ALARM, path="2.png", split="validation"),
        Report(kind=ReportKind.MISS, path="3.png", split="test"),
    ]
    calls_all, calls_none = (_copy(bundle, tmp_path / name, limit) for name, limit in (("all", 1e-6), ("none", 1e6)))
    held_out, learnt = tally(tmp_path, reports, calls_all, calls_none, None, quiet)
    assert held_out == {"false-alarm": Tally(2, 0, 2), "miss": Tally(1, 1, 0)}
    assert learnt == {"false-alarm": Tally(1, 0, 1)}


def test_two_retrainings_of_one_product_refuse() -> None:
    with _alone("cap"):
        with pytest.raises(SourceError, match="cap is being retrained already"), _alone("cap"):
            pass
        with _alone("lid"):
            pass
    with _alone("cap"):
        pass


def _copy(bundle: Path, folder: Path, threshold: float) -> Path:
    """The bundle with another threshold."""
    shutil.copytree(bundle, folder)
    card = load_card(folder)
    save_card(replace(card, threshold=threshold, review_threshold=threshold, map_scale=2 * threshold), folder)
    return folder


def test_a_champion_that_learnt_under_a_mask_asks_for_it(card: DetectorCard, tmp_path: Path) -> None:
    mask, other = (tmp_path / name for name in ("mask.png", "other.png"))
    for path, rows in ((mask, 8), (other, 9)):
        picture = np.zeros((32, 48), np.uint8)
        picture[:rows] = 255
        cv2.imwrite(str(path), picture)
    view = view_of("0,0,40,32", mask)
    under = replace(card, parameters=card.parameters | on_card(view))
    assert _view(card, None) is None
    found = _view(under, mask)
    assert found and view and (found.region, found.mask) == (view.region, view.mask)
    with pytest.raises(DetectorError, match="learnt under a mask; name its file with --mask"):
        _view(under, None)
    with pytest.raises(DetectorError, match=r"other\.png is not the mask that"):
        _view(under, other)


@pytest.mark.parametrize("method", [None, "patchcore"])
def test_a_challenger_gets_the_latency_budget_of_the_champion(card: DetectorCard, method: str | None) -> None:
    champion = replace(card, latency_budget_ms=40.0, parameters=card.parameters | {"variation": "none"})
    assert _recipe(champion, method).latency_budget_ms == 40.0
