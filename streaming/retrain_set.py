"""`python -m streaming.retrain_set REQUEST`: the training set of a retraining, and what is new since the champion.

REQUEST is a `sightline.retraining.HistoryRequest` as JSON. The set is what `sightline ingest archive` makes, with the
same splits; of the good frames that nobody spoke of only so many are taken, drawn evenly, while every frame that an
operator or the source told the truth about is in it.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from pyspark.sql import functions as f

from sightline.contracts import ActionKind, Verdict
from sightline.errors import SightlineError, TableError
from sightline.retraining import ANSWER_FILE, SET_FOLDER, HistoryAnswer, HistoryRequest, Report, ReportKind
from sightline.settings import TableSettings
from sightline.trainingset import GOOD
from streaming.drift import DRIFT
from streaming.drift_statistics import Status
from streaming.ingest import IngestOptions, Labelled, Measured, ingest
from streaming.ingest_archive import ArchiveSource, frame_label

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

_SHOWN = 20


class RetrainingSource:
    """An archive of which only `limit` good frames that nobody spoke of are taken; decoded is nothing else."""

    def __init__(self, archive: ArchiveSource, known: Sequence[Row], limit: int) -> None:
        self._archive = archive
        self.description = archive.description
        self.part_rule = archive.part_rule
        spoken_of = [row.inspection_id for row in known if row.label or row.answer]
        silent = [row.inspection_id for row in known if not (row.label or row.answer)]
        # by a hash, so that no day or camera is preferred, and the same frames are chosen again
        silent.sort(key=lambda origin: hashlib.sha256(origin.encode()).digest())
        self.chosen = spoken_of + silent[:limit]

    def files(self, spark: SparkSession) -> DataFrame:
        chosen = spark.createDataFrame([(origin,) for origin in self.chosen], "origin string")
        return self._archive.files(spark).join(f.broadcast(chosen), "origin")

    def label(self, spark: SparkSession, measured: Sequence[Measured]) -> Labelled:
        return self._archive.label(spark, measured)


def answer(spark: SparkSession, tables: TableSettings, request: HistoryRequest) -> HistoryAnswer:
    """What is new, and the training set in `request.folder` where there is reason for one.

    Raises TableError where there is no history, or no drift table while only drift would be a reason, and SourceError
    when the frames make no sound set.
    """
    archive = ArchiveSource(
        tables, request.product, gap_seconds=request.gap_seconds, frames_per_part=request.frames_per_part
    )
    known = [row for row in archive.known(spark).collect() if _label(row) is not None]
    found = HistoryAnswer(
        new_frames=sum(_utc(row.captured_at) > request.since for row in known),
        new_answers=sum(row.at is not None and _utc(row.at) > request.since for row in known),
        drifted=_drifted(spark, tables, request),
        made=False,
    )
    new = found.new_frames or found.new_answers or request.force
    if not new or (request.only_if_drifted and not found.drifted):
        return found
    options = IngestOptions(request.product, Path(request.folder) / SET_FOLDER)
    manifest = ingest(spark, RetrainingSource(archive, known, request.limit), options)
    kinds = {row.inspection_id: kind for row in known if (kind := report_kind(row.answer, row.label, row.verdict))}
    reports = tuple(
        Report(kind=kinds[one.origin], path=one.path, split=one.split.value)
        for one in manifest.pictures
        if one.origin in kinds
    )
    return replace(found, made=True, reports=reports)


def report_kind(answer: str | None, truth: str | None, verdict: str) -> ReportKind | None:
    """What a frame says of the detector that judged it; None where nobody spoke of it, or both agree on good."""
    if answer == ActionKind.FALSE_ALARM.value:
        return ReportKind.FALSE_ALARM
    if answer == ActionKind.CONFIRM.value:
        return ReportKind.CONFIRMED
    defective = truth is not None and frame_label(None, None, truth, verdict) != GOOD
    return ReportKind.MISS if defective and verdict != Verdict.DEFECT.value else None


def _drifted(spark: SparkSession, tables: TableSettings, request: HistoryRequest) -> tuple[str, ...]:
    """What has drifted since the champion judges, in words; raises TableError where that must be known and is not."""
    from delta.tables import DeltaTable

    path = tables.path(DRIFT.name)
    if not DeltaTable.isDeltaTable(spark, path):
        if request.only_if_drifted:
            raise TableError(f"there is no table at {path}: run `sightline drift` first, or leave --if-drifted out")
        return ()
    # rows name the detector, so those of this one are all from after its training
    rows = (
        spark.read.format("delta")
        .load(path)
        .where(
            (f.col("product") == request.product)
            & (f.col("detector_digest") == request.digest)
            & (f.col("status") == Status.DRIFT.value)
        )
    )
    shown = rows.orderBy(f.desc("window_start"), "camera", "measure", "statistic").limit(_SHOWN).collect()
    return tuple(
        f"{row.camera}, {_utc(row.window_start):%Y-%m-%d %H:%M} UTC: {row.measure} {row.statistic} {row.value:.2f}, "
        f"limit {row.act:.2f}"
        for row in shown
    )


def _label(row: Row) -> str | None:
    return frame_label(row.answer, row.defect_type, row.label, row.verdict)


def _utc(local: datetime) -> datetime:
    """Spark gives times without a zone, in the machine's own."""
    return local.astimezone(UTC)


def main(text: str) -> int:
    """Exit 0 with the answer in the request's folder, or 1 with the reason on stderr."""
    from infra.spark import build_session

    try:
        request = msgspec.json.decode(text, type=HistoryRequest)
        tables = TableSettings.load()
        spark = build_session("sightline-retrain")
        try:
            found = answer(spark, tables, request)
        finally:
            spark.stop()
        (Path(request.folder) / ANSWER_FILE).write_bytes(msgspec.json.encode(found))
    except SightlineError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
