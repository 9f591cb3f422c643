"""The questions of docs/questions.md: their answers by hand, their parameters, and the page itself."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console.answers import ask
from console.commands import app
from console.questions import QUESTIONS, sql_of
from console.tables import open_history
from sightline import samples
from sightline.contracts import ActionKind, DropReason, Verdict
from sightline.errors import QueryError, TableError

PAGE = Path(__file__).parents[3] / "docs" / "questions.md"
ALERT = samples.alert(revision=1)
NEXT_DAY = 1_000_000
"""Sequence of a sample frame of the day after the first."""


@pytest.fixture
def plant(history):
    """Two cameras over two days: of cam-1 four frames, two of them defects in one incident; of cam-2 one good frame."""
    history.create()
    opened = ALERT
    history.write(
        samples.inspection(sequence=0),
        samples.inspection(sequence=opened.first_sequence, score=0.9, verdict=Verdict.DEFECT),
        samples.inspection(sequence=opened.last_sequence, score=0.93, verdict=Verdict.DEFECT),
        samples.inspection(sequence=NEXT_DAY, score=0.31),
        samples.inspection("cam-2", 0),
        opened,
        replace(samples.operator_action(), action_id="1", kind=ActionKind.CONFIRM, defect_type="scratch",
                at=opened.opened_at + timedelta(seconds=90)),
        samples.dead_letter(sequence=1),
        samples.camera_event(first=20_000, last=20_004, reason=DropReason.QUEUE_FULL),
    )  # fmt: skip
    return history


def answers(history, name: str, *given: str) -> list[dict]:
    return list(ask(open_history(history.settings), sql_of(name, given)).records())


def test_the_worst_camera_comes_first_with_its_share_of_defects(plant) -> None:
    first, second = answers(plant, "worst_cameras")
    assert (first["camera"], first["inspected"], first["defects"], first["percent"]) == ("cam-1", 4, 2, 50.0)
    assert (first["incidents"], second["camera"], second["percent"]) == (1, "cam-2", 0.0)


def test_a_time_a_camera_and_a_line_narrow_an_answer(plant) -> None:
    assert [row["inspected"] for row in answers(plant, "defect_rate")] == [4, 1]
    assert [row["inspected"] for row in answers(plant, "defect_rate", "since=2026-03-03")] == [1]
    assert [row["inspected"] for row in answers(plant, "defect_rate", "until=2026-03-03")] == [4]
    assert [row["inspected"] for row in answers(plant, "defect_rate", "only_camera=cam-2")] == [1]
    assert answers(plant, "defect_rate", "only_line=nowhere") == []
    until = "until=2026-03-02T06:30:00.05Z"
    assert [row["inspected"] for row in answers(plant, "defect_rate", until)] == [2]


def test_confirmed_types_add_up_to_all(plant) -> None:
    (row,) = answers(plant, "defect_types")
    assert (row["defect_type"], row["incidents"], row["percent"], row["cumulative_percent"]) == ("scratch", 1, 100, 100)


def test_latency_percentiles_are_those_of_the_frames(plant) -> None:
    (row,) = answers(plant, "throughput", "only_camera=cam-2")
    assert (row["frames"], row["p50_ms"], row["p99_ms"], row["worst_ms"]) == (1, 162, 162, 162)


def test_response_times_are_of_the_first_answer(plant) -> None:
    (row,) = answers(plant, "response_times")
    assert (row["incidents"], row["unanswered"], row["median_to_answer_s"]) == (1, 0, 90.0)
    (row,) = answers(plant, "false_alarms")
    assert (row["answered"], row["confirmed"], row["false_percent"]) == (1, 1, 0.0)


def test_drift_is_told_in_spreads_of_the_first_day(history) -> None:
    scores = {0: 0.2, 1: 0.4, NEXT_DAY: 0.4, NEXT_DAY + 1: 0.6}
    history.write(*(samples.inspection(sequence=at, score=score) for at, score in scores.items()))
    # the first day's mean is 0.3 and its spread √2/10, the second day's mean 0.5
    assert [row["moved"] for row in answers(history, "score_drift")] == [0.0, 1.41]


def test_versions_are_compared_in_thresholds(history) -> None:
    good, bad = Verdict.OK, Verdict.DEFECT
    seen = enumerate([(0.31, good), (0.31, good), (0.62, bad), (1.24, bad)])
    history.write(*(samples.inspection(sequence=at, score=score, verdict=said) for at, (score, said) in seen))
    (row,) = answers(history, "champions")
    assert (row["inspected"], row["mean"], row["p50"], row["p99"]) == (4, 1.0, 0.5, 2.0)
    assert row["defect_percent"] == 50.0


def test_losses_count_frames_by_reason(plant) -> None:
    found = {(row["what"], row["frames"]) for row in answers(plant, "losses")}
    assert found == {("dropped", 5), ("dead letter", 1)}


def test_a_trace_tells_what_became_of_a_frame_in_order(plant) -> None:
    sequence = f"only_sequence={ALERT.first_sequence}"
    steps = [row["what"] for row in answers(plant, "trace", "only_camera=cam-1", sequence)]
    assert steps == ["alert: critical", "captured", "inspected: defect", "confirm"]
    (dropped,) = answers(plant, "trace", "only_camera=cam-1", "only_sequence=20003")
    assert (dropped["what"], dropped["detail"]) == ("dropped", "queue-full")
    assert answers(plant, "trace", "only_camera=cam-2", "only_sequence=999") == []


def test_the_list_is_newest_first_and_goes_on_from_the_last_row(plant) -> None:
    page = answers(plant, "inspection_list", "only_camera=cam-1", "rows=2")
    assert [row["sequence"] for row in page] == [NEXT_DAY, ALERT.last_sequence]
    rest = answers(plant, "inspection_list", "only_camera=cam-1", f"until={page[-1]['captured_at'].isoformat()}")
    assert [row["sequence"] for row in rest] == [ALERT.first_sequence, 0]
    defects = answers(plant, "inspection_list", "only_verdict=defect", "least_score=0.92", "most_score=1")
    assert [row["score"] for row in defects] == [0.93]


def test_the_command_asks_a_question_or_reads_a_view(plant) -> None:
    arguments = ["query", "--root", plant.settings.root, "--json", "--view"]
    done = CliRunner().invoke(app, [*arguments, "worst_cameras", "--with", "only_camera=cam-2"])
    assert json.loads(done.output)["camera"] == "cam-2"
    assert CliRunner().invoke(app, [*arguments, "latest_alerts"]).exit_code == 0
    assert CliRunner().invoke(app, ["query", "--with", "since=2026-03-02", "SELECT 1"]).exit_code != 0


def test_wrong_parameters_are_named(plant) -> None:
    with pytest.raises(QueryError, match="no parameter 'camera'; it has since"):
        sql_of("worst_cameras", ["camera=cam-1"])
    with pytest.raises(QueryError, match="NAME=VALUE"):
        sql_of("worst_cameras", ["since"])
    with pytest.raises(QueryError):
        answers(plant, "worst_cameras", "since=yesterday")
    assert answers(plant, "worst_cameras", "only_line=' OR 1=1 --") == []


def test_a_question_whose_table_is_missing_names_it(history) -> None:
    history.create("inspections")
    with pytest.raises(TableError, match="alerts"):
        answers(history, "worst_cameras")


def test_the_page_has_each_question_with_its_parameters() -> None:
    page = PAGE.read_text()
    for one in QUESTIONS:
        assert f"| `{one.name}` | {one.comment} | {', '.join(f'`{name}`' for name in one.parameters)} |" in page
