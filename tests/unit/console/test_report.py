"""`sightline report`: verdicts against labels."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from console.commands import app
from console.quality import judge
from console.report import moment
from console.tables import open_history
from sightline import samples
from sightline.contracts import Verdict
from sightline.errors import SettingsError, SightlineError

OK, REVIEW, DEFECT = Verdict.OK, Verdict.REVIEW, Verdict.DEFECT
FRAMES = [
    ("good", 0.1, OK),
    ("good", 0.2, OK),
    ("good", 0.7, DEFECT),
    ("scratch", 0.9, DEFECT),
    ("scratch", 0.8, DEFECT),
    ("dent", 0.6, REVIEW),
    ("dent", 0.15, OK),
    (None, 0.1, OK),
]


@pytest.fixture
def labelled(history):
    """cam-1: three good frames, one of them called a defect; four defective ones, two of them found."""
    history.write(
        *(
            samples.inspection("cam-1", number, score=score, verdict=verdict, label=label)
            for number, (label, score, verdict) in enumerate(FRAMES)
        )
    )
    return history


def test_counts_and_measures_are_those_of_the_table(labelled) -> None:
    report = judge(open_history(labelled.settings))
    overall = report.overall
    assert (overall.good.ok, overall.good.review, overall.good.defect) == (2, 0, 1)
    assert (overall.defective.ok, overall.defective.review, overall.defective.defect) == (1, 1, 2)
    assert overall.precision == pytest.approx(2 / 3)
    assert overall.recall == pytest.approx(2 / 4)
    assert overall.f1 == pytest.approx(4 / 7)
    assert overall.auroc == pytest.approx(9 / 12)
    assert report.unlabelled == 1


def test_each_kind_of_defect_has_its_recall(labelled) -> None:
    kinds = {kind.kind: (kind.found, kind.review, kind.recall) for kind in judge(open_history(labelled.settings)).kinds}
    assert kinds == {"scratch": (2, 0, 1.0), "dent": (0, 1, 0.0)}


def test_only_the_product_and_time_that_are_asked_for(labelled) -> None:
    history = open_history(labelled.settings)
    since = samples.START + timedelta(seconds=0.35)
    assert judge(history, since=since, product="bottle_cap").overall.frames == 3
    with pytest.raises(SightlineError, match=r"no inspections of product 'gasket'"):
        judge(history, product="gasket")


def test_measures_that_have_no_meaning_are_left_out(history) -> None:
    history.write(samples.inspection(sequence=0, label="good"))
    overall = judge(open_history(history.settings)).overall
    assert (overall.auroc, overall.precision, overall.recall, overall.f1) == (None, None, None, None)


def test_frames_without_labels_are_said_to_have_none(history) -> None:
    history.write(samples.inspection(sequence=0))
    with pytest.raises(SightlineError, match="none of the 1 inspections has a label"):
        judge(open_history(history.settings))


def test_the_command_prints_the_matrix_and_as_json_the_same(labelled) -> None:
    arguments = ["report", "--root", labelled.settings.root]
    shown = CliRunner().invoke(app, arguments).output
    assert "7 labelled frames" in shown
    assert "said review" in shown
    assert "1 inspections without a label are left out" in shown
    plain = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    assert plain["overall"]["defective"] == {"ok": 1, "review": 1, "defect": 2}
    assert {kind["kind"]: kind["recall"] for kind in plain["kinds"]} == {"dent": 0.0, "scratch": 1.0}


def test_a_time_without_a_zone_is_utc_and_nonsense_is_refused() -> None:
    assert moment("2026-03-02").isoformat() == "2026-03-02T00:00:00+00:00"
    assert moment("2026-03-02T06:30+01:00").utcoffset() == timedelta(hours=1)
    with pytest.raises(SettingsError, match="yesterday"):
        moment("yesterday")
