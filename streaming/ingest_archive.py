"""The table `frame_archive` as a source of a training set: what operators confirmed becomes what the next model knows.

A frame's label is, in this order: the newest answer of an operator to the incident that it was a defect of; the truth
that came with the frame; `good` where the detector said ok. Defects and reviews that nobody answered are left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as f

from sightline.contracts import ActionKind, Verdict
from sightline.errors import SourceError, TableError
from sightline.settings import TableSettings
from sightline.trainingset import GOOD
from streaming.ingest import Candidate, Labelled, Measured

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

UNCONFIRMED = "unconfirmed"
UNNAMED_DEFECT = "defect"
"""Label of a defect that was confirmed without a type."""


@dataclass(frozen=True, slots=True)
class ArchiveSource:
    """Archived frames of `product`, of one camera or all, from `since` on (UTC).

    Frames of a camera show one part until there is a gap of more than `gap_seconds`; with `frames_per_part`, every so
    many sequence numbers are one.
    """

    tables: TableSettings
    product: str
    camera: str | None = None
    since: datetime | None = None
    gap_seconds: float = 1.0
    frames_per_part: int | None = None

    def __post_init__(self) -> None:
        if self.gap_seconds <= 0 or (self.frames_per_part is not None and self.frames_per_part < 1):
            raise SourceError(
                f"gap of {self.gap_seconds} s, {self.frames_per_part} frames a part: both must be above 0"
            )

    @property
    def description(self) -> str:
        where = f", camera {self.camera}" if self.camera else ""
        since = f", since {self.since:%Y-%m-%d %H:%M} UTC" if self.since else ""
        return f"table {self.tables.path('frame_archive')}, product {self.product}{where}{since}"

    @property
    def part_rule(self) -> str:
        if self.frames_per_part:
            return f"{self.frames_per_part} sequence numbers of a camera"
        return f"frames of a camera less than {self.gap_seconds:g} s apart"

    def files(self, spark: SparkSession) -> DataFrame:
        """Raises TableError when there is no archive."""
        return self._frames(spark).select(
            f.col("inspection_id").alias("origin"),
            f.col("jpeg").alias("data"),
            f.lit(False).alias("is_mask"),
        )

    def label(self, spark: SparkSession, measured: Sequence[Measured]) -> Labelled:
        rows = {row.inspection_id: row for row in self.known(spark).collect()}
        candidates: list[Candidate] = []
        left_out: Counter[str] = Counter()
        for one in measured:
            row = rows[one.origin]
            label = frame_label(row.answer, row.defect_type, row.label, row.verdict)
            if label is None:
                left_out[UNCONFIRMED] += 1
                continue
            stem = f"{row.camera}-{row.sequence:09d}"
            candidates.append(Candidate(one, label, row.part, stem, ".jpg"))
        return Labelled(candidates, left_out)

    def known(self, spark: SparkSession) -> DataFrame:
        """All that is known of each frame but its pixels: its part, and the newest answer about it."""
        kept = ("inspection_id", "camera", "sequence", "captured_at", "label", "verdict")
        frames = self._frames(spark).select(*kept, self._part().alias("part"))
        answers = self._answers(spark)
        if answers is None:
            nothing = f.lit(None).cast("string")
            return frames.withColumns({"answer": nothing, "defect_type": nothing, "at": nothing.cast("timestamp")})
        # sequence numbers alone would do if cameras never started again from 0
        meant = (
            (frames.camera == answers.of_camera)
            & frames.sequence.between(answers.first_sequence, answers.last_sequence)
            & frames.captured_at.between(answers.opened_at, answers.updated_at)
            & (frames.verdict == Verdict.DEFECT.value)
        )
        newest = Window.partitionBy("inspection_id").orderBy(f.desc_nulls_last("at"), f.desc("action_id"))
        joined = frames.join(f.broadcast(answers), meant, "left")
        return joined.withColumn("rank", f.row_number().over(newest)).where("rank = 1")

    def _frames(self, spark: SparkSession) -> DataFrame:
        path = self.tables.path("frame_archive")
        if not _exists(spark, path):
            raise TableError(f"there is no table at {path}; start `sightline history`, or set [tables] root")
        frames = spark.read.format("delta").load(path).where(f.col("product") == self.product)
        if self.camera:
            frames = frames.where(f.col("camera") == self.camera)
        if self.since:
            frames = frames.where((f.col("day") >= f.lit(self.since.date())) & (f.col("captured_at") >= self.since))
        return frames

    def _part(self) -> Column:
        if self.frames_per_part:
            block = f.floor(f.col("sequence") / self.frames_per_part)
            return f.concat_ws("/", "camera", f.format_string(f"%d×{self.frames_per_part}", block))
        in_order = Window.partitionBy("camera").orderBy("captured_at", "sequence")
        seconds = f.unix_micros("captured_at") / 1e6
        gap = seconds - f.lag(seconds).over(in_order)
        # named after its first frame, so that later frames never rename an earlier part
        first = f.when(gap.isNull() | (gap > self.gap_seconds), f.col("captured_at"))
        start = f.last(first, ignorenulls=True).over(in_order)
        return f.concat_ws("/", "camera", f.date_format(start, "yyyy-MM-dd'T'HH:mm:ss.SSSSSS"))

    def _answers(self, spark: SparkSession) -> DataFrame | None:
        """The confirmations and refutations with the frames that each is about; None when nobody could give any."""
        alerts, actions = self.tables.path("alerts"), self.tables.path("operator_actions")
        if not (_exists(spark, alerts) and _exists(spark, actions)):
            return None
        said = (
            spark.read.format("delta")
            .load(actions)
            .where(f.col("kind").isin(ActionKind.CONFIRM.value, ActionKind.FALSE_ALARM.value))
            .select("alert_id", f.col("kind").alias("answer"), "defect_type", "at", "action_id")
        )
        about = spark.read.format("delta").load(alerts)
        columns = ("alert_id", "first_sequence", "last_sequence", "opened_at", "updated_at")
        return said.join(about.select(*columns, f.col("camera").alias("of_camera")), "alert_id").drop("alert_id")


def frame_label(answer: str | None, defect_type: str | None, truth: str | None, verdict: str) -> str | None:
    """The label of one frame; None when nobody knows."""
    if answer == ActionKind.FALSE_ALARM.value:
        return GOOD
    if answer == ActionKind.CONFIRM.value:
        named = _folder_name(defect_type or "")
        # a confirmed defect that is typed "good" is one all the same
        return named if named not in ("", GOOD) else UNNAMED_DEFECT
    if truth:
        return _folder_name(truth) or UNNAMED_DEFECT
    return GOOD if verdict == Verdict.OK.value else None


def _folder_name(text: str) -> str:
    """People's own words as a folder's name: `Surface scratch!` is `surface_scratch`."""
    return re.sub(r"[^a-z0-9.-]+", "_", text.strip().lower()).strip("_.-")[:64]


def _exists(spark: SparkSession, path: str) -> bool:
    from delta.tables import DeltaTable

    return bool(DeltaTable.isDeltaTable(spark, path))
