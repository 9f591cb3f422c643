"""docs/tables.md says what the tables are, and its questions have answers."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from console.answers import ask
from console.tables import GOLD_NAMES, TABLE_NAMES, open_history
from console.views import VIEWS
from sightline import samples
from sightline.contracts import CameraEventKind, DropReason, Verdict
from streaming.tables import GOLD, TABLES, documented_columns

DOC = Path(__file__).parents[3] / "docs" / "tables.md"
MARKER = "<!-- generated from here on"
QUESTIONS = re.findall(r"```sql\n(.*?)```", DOC.read_text(), re.DOTALL)


def generated() -> str:
    """What follows the marker: views, then tables with every column."""
    lines = [
        "",
        "## Views",
        "Made for `sightline query`; not stored.",
        "",
        "| view | what it answers |",
        "| --- | --- |",
    ]
    lines += [f"| `{view.name}` | {view.comment} |" for view in VIEWS]
    for table in (*TABLES.values(), *GOLD.values()):
        key = ", ".join(f"`{name}`" for name in table.key)
        lines += ["", f"## {table.name}", f"{table.comment}. No two rows have the same {key}.", ""]
        lines += [f"Partition: `day`, the UTC date of `{table.event_time}`.", ""]
        lines += ["| column | type | meaning |", "| --- | --- | --- |"]
        for column in documented_columns():
            if column.table == table.name:
                lines.append(f"| `{column.column}` | {column.type} | {column.comment} |")
    return "\n".join(lines) + "\n"


def test_the_page_lists_every_table_view_and_column() -> None:
    hand_written, marker, rest = DOC.read_text().partition(MARKER)
    heading, _, below = rest.partition("\n")
    if os.environ.get("SIGHTLINE_TEST_WRITE_DOCS"):
        DOC.write_text(hand_written + marker + heading + "\n" + generated())
        return
    assert below == generated(), "run this test once with SIGHTLINE_TEST_WRITE_DOCS=1 and commit docs/tables.md"


def test_every_column_has_a_meaning() -> None:
    assert [column for column in documented_columns() if not column.comment] == []


def test_the_console_knows_every_table_that_history_writes() -> None:
    assert set(TABLE_NAMES) == set(TABLES)
    assert set(GOLD_NAMES) == set(GOLD)


@pytest.mark.parametrize("sql", [*QUESTIONS, *(f"FROM {view.name}" for view in VIEWS)])
def test_questions_have_answers(history, sql: str) -> None:
    defect = samples.inspection(sequence=3, score=0.9, verdict=Verdict.DEFECT, label="scratch")
    review = samples.inspection(sequence=4, score=0.6, verdict=Verdict.REVIEW, label="dent")
    history.create()
    history.write(
        samples.inspection(sequence=0),
        defect,
        review,
        samples.shadow_inspection(sequence=0, score=0.7, verdict=Verdict.DEFECT),
        samples.alert(),
        samples.operator_action(),
        samples.dead_letter(sequence=1),
        samples.camera_event(first=2, last=2, reason=DropReason.QUEUE_FULL),
        samples.camera_event(kind=CameraEventKind.STOPPED, next_sequence=5),
    )
    history.rows("gold_drift", [{"camera": "cam-1", "status": "drift", "value": 0.4, "act": 0.25}])
    # the sample events are of the past; the page asks for today
    sql = sql.replace("current_date", "DATE '2026-03-02'")
    assert ask(open_history(history.settings), sql).first(10).num_rows > 0


def test_questions_were_found() -> None:
    assert len(QUESTIONS) >= 5
