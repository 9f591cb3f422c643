"""Which frames say something about a detector that no others do, and which are taken."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sightline.retraining import ReportKind
from sightline.settings import TableSettings
from streaming.ingest_archive import ArchiveSource
from streaming.retrain_set import RetrainingSource, report_kind


@pytest.mark.parametrize(
    ("answer", "truth", "verdict", "kind"),
    [
        ("false-alarm", None, "defect", ReportKind.FALSE_ALARM),
        ("false-alarm", "dent", "defect", ReportKind.FALSE_ALARM),
        ("confirm", None, "defect", ReportKind.CONFIRMED),
        (None, "dent", "ok", ReportKind.MISS),
        (None, "dent", "review", ReportKind.MISS),
        (None, "dent", "defect", None),
        (None, "good", "ok", None),
        (None, None, "ok", None),
    ],
)
def test_mistakes_are_told_from_what_was_right(
    answer: str | None, truth: str | None, verdict: str, kind: ReportKind | None
) -> None:
    assert report_kind(answer, truth, verdict) is kind


def test_the_limit_leaves_no_answered_frame_out() -> None:
    known: list[Any] = [
        SimpleNamespace(inspection_id=f"i{number}", label=None, answer="false-alarm" if number < 5 else None)
        for number in range(50)
    ]
    archive = ArchiveSource(TableSettings(root="unused"), "cap")
    source = RetrainingSource(archive, known, limit=10)
    assert {f"i{number}" for number in range(5)} < set(source.chosen)
    assert len(source.chosen) == 15
    # the same frames again, whatever the order they come in
    assert set(RetrainingSource(archive, known[::-1], limit=10).chosen) == set(source.chosen)
