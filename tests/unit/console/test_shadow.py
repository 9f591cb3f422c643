"""`sightline shadow`: two detectors on the same frames."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from console.agreement import compare
from console.commands import app
from console.tables import open_history
from console.verify import verify
from sightline import samples
from sightline.contracts import ActionKind, Verdict
from sightline.errors import SightlineError, TableError

OK, REVIEW, DEFECT = Verdict.OK, Verdict.REVIEW, Verdict.DEFECT
FRAMES = [
    # label, champion, challenger
    ("good", (0.1, OK), (0.10, OK)),
    ("good", (0.7, DEFECT), (0.20, OK)),
    ("scratch", (0.2, OK), (0.60, DEFECT)),
    ("scratch", (0.9, DEFECT), (0.90, DEFECT)),
    (None, (0.5, REVIEW), (0.15, OK)),
    (None, (0.8, DEFECT), (0.30, REVIEW)),
]


@pytest.fixture
def shadowed(history):
    """Six frames of cam-1 judged by both, one that the challenger failed on, one that it was not asked about."""
    for number, (label, champion, challenger) in enumerate(FRAMES):
        history.write(
            samples.inspection(sequence=number, score=champion[0], verdict=champion[1], label=label),
            samples.shadow_inspection(sequence=number, score=challenger[0], verdict=challenger[1], label=label),
        )
    history.write(
        samples.inspection(sequence=6),
        samples.shadow_inspection(sequence=6, error="DetectorError: not finite"),
        samples.inspection(sequence=7),
    )
    return history


def test_verdicts_are_counted_against_each_other(shadowed) -> None:
    found = compare(open_history(shadowed.settings), "bottle_cap")
    assert (found.champion, found.challenger, found.frames, found.agreed) == ("3", "4", 6, 2)
    assert found.verdicts == {
        "ok": {"ok": 1, "review": 0, "defect": 1},
        "review": {"ok": 1, "review": 0, "defect": 0},
        "defect": {"ok": 1, "review": 1, "defect": 1},
    }
    assert [one.sequence for one in found.champion_only.examples] == [5, 1]
    assert [(one.sequence, one.truth) for one in found.challenger_only.examples] == [(2, "scratch")]
    assert (found.failures.frames, found.failures.errors) == (1, ("DetectorError: not finite",))
    # ranks of the champion 1 4 2 6 3 5, of the challenger 1 3 5 6 2 4: 1 - 6 * 12 / (6 * 35)
    assert found.rank_correlation == pytest.approx(1 - 72 / 210)


def test_each_is_measured_where_the_truth_is_known(shadowed) -> None:
    truth = compare(open_history(shadowed.settings), "bottle_cap").truth
    assert (truth.by_label, truth.by_operator) == (4, 0)
    assert (truth.champion.precision, truth.champion.recall) == (0.5, 0.5)
    assert (truth.challenger.precision, truth.challenger.recall, truth.challenger.auroc) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("kind", "champion", "challenger"), [(ActionKind.CONFIRM, (2, 1), (2, 0)), (ActionKind.FALSE_ALARM, (1, 2), (2, 0))]
)
def test_an_operators_answer_is_a_truth_about_the_champions_defects(shadowed, kind, champion, challenger) -> None:
    alert = samples.alert(sequence=4)
    alert = replace(alert, last_sequence=5, updated_at=alert.opened_at + timedelta(seconds=1))
    shadowed.write(alert, replace(samples.operator_action(), alert_id=alert.alert_id, kind=kind))
    truth = compare(open_history(shadowed.settings), "bottle_cap").truth
    assert (truth.by_label, truth.by_operator) == (4, 1)
    assert (truth.champion.defective.defect, truth.champion.good.defect) == champion
    assert (truth.challenger.defective.defect, truth.challenger.good.defect) == challenger


def test_versions_are_not_mixed_and_the_newest_pair_is_shown(shadowed) -> None:
    newer = samples.shadow_inspection(sequence=8)
    shadowed.write(samples.inspection(sequence=8), replace(newer, detector=replace(newer.detector, version="5")))
    history = open_history(shadowed.settings)
    found = compare(history, "bottle_cap")
    assert (found.challenger, found.frames) == ("5", 1)
    assert [(other.challenger, other.frames) for other in found.others] == [("4", 7)]
    assert compare(history, "bottle_cap", challenger="4").frames == 6
    with pytest.raises(SightlineError, match="champion 3 with challenger 5"):
        compare(history, "bottle_cap", challenger="9")


def test_nothing_to_compare_says_what_to_do(history) -> None:
    history.write(samples.inspection(sequence=0))
    with pytest.raises(TableError, match="shadow_inspections"):
        compare(open_history(history.settings), "bottle_cap")
    history.create()
    with pytest.raises(SightlineError, match="shadow_fraction above 0"):
        compare(open_history(history.settings), "bottle_cap")


def test_the_ledger_of_frames_does_not_count_shadows(shadowed) -> None:
    accounts = verify(shadowed.settings)
    (camera,) = accounts.cameras
    assert (camera.captured, camera.inspected, camera.duplicated, camera.twice) == (8, 8, 0, 0)


def test_the_command_prints_the_comparison_and_as_json_the_same(shadowed) -> None:
    arguments = ["shadow", "bottle_cap", "--root", shadowed.settings.root]
    shown = CliRunner().invoke(app, arguments).output
    assert "6 frames judged by champion 3 and challenger 4, the same verdict for 33.33%" in " ".join(shown.split())
    assert "cam-1 2: champion 0.2, challenger 0.6, truly scratch" in shown
    assert "the challenger failed on 1 frames" in shown
    plain = json.loads(CliRunner().invoke(app, [*arguments, "--since", "2026-03-02", "--json"]).output)
    assert (plain["frames"], plain["verdicts"]["defect"]["review"]) == (6, 1)
    assert plain["agreement"] == pytest.approx(1 / 3)
