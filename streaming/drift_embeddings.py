"""Drift of embeddings: archived frames of each window to `models.drift`, and its figures back as rows.

The stream keeps no embeddings. A sample of the archived frames that the detector called ok is written to a folder that
is gone afterwards, camera by camera, and a process of its own looks at it with the detector's features.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from pyspark.sql import Window
from pyspark.sql import functions as f

from models import registry
from models.registry import RegisteredDetector
from sightline.contracts import Verdict
from sightline.errors import DetectorError, RegistryError
from sightline.settings import RegistrySettings, TableSettings
from streaming.drift import DRIFT, EMBEDDING, Compared, DriftRow, Group, Period, row_of
from streaming.drift_statistics import DriftSettings, Figure, Statistic, Status, absent, judged

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

_REFERENCE = "reference"
_PROCESS_SECONDS = 3600.0
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shift:
    """What `models.drift` prints of one window."""

    frames: int
    reference_frames: int
    value: float
    chance: float


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Rows of `gold_drift`, and why there are none for some cameras."""

    rows: list[DriftRow]
    refusals: list[str]


def embedding_rows(
    spark: SparkSession,
    tables: TableSettings,
    registry_settings: RegistrySettings,
    settings: DriftSettings,
    windows: Sequence[Compared],
    now: datetime,
) -> Embeddings:
    """The rows of `windows` for embeddings, of those that the table does not hold yet as they are."""
    from delta.tables import DeltaTable

    archive = tables.path("frame_archive")
    if not DeltaTable.isDeltaTable(spark, archive):
        return Embeddings([], [f"no table at {archive}: embeddings need archived frames"])
    frames = spark.read.format("delta").load(archive).where(f.col("verdict") == Verdict.OK.value)
    done = _computed(spark, tables)
    by_group: dict[Group, list[Compared]] = {}
    for one in windows:
        if _identity(one) not in done:
            by_group.setdefault(one.frames.group, []).append(one)
    found = Embeddings([], [])
    for group, wanted in by_group.items():
        try:
            found.rows.extend(_of_group(frames, registry_settings, settings, group, wanted, now))
        except (DetectorError, RegistryError) as error:
            found.refusals.append(f"no embeddings of {group.camera}, detector {group.detector_version}: {error}")
    return found


def _of_group(
    archive: DataFrame,
    registry_settings: RegistrySettings,
    settings: DriftSettings,
    group: Group,
    windows: Sequence[Compared],
    now: datetime,
) -> Iterable[DriftRow]:
    """The rows of one camera; raises DetectorError or RegistryError when its detector cannot look at its frames."""
    reference = windows[0].reference
    periods = {_REFERENCE: Period(reference.first, reference.last + _MOMENT)}
    periods |= {str(place): Period(one.frames.first, one.frames.last + _MOMENT) for place, one in enumerate(windows)}
    with tempfile.TemporaryDirectory(prefix="sightline-drift-") as temporary:
        folder = Path(temporary)
        chosen = _sample(archive, group, periods, settings.embedding_frames).persist()
        try:
            counts = Counter({row.period: row["count"] for row in chosen.groupBy("period").count().collect()})
            enough = {name for name in periods if counts[name] >= settings.embedding_min_frames}
            shifts: Mapping[str, _Shift] = {}
            if _REFERENCE in enough and len(enough) > 1:
                _write(archive.join(f.broadcast(chosen), "inspection_id"), enough, folder)
                detector = RegisteredDetector(
                    group.detector_name, group.product, group.detector_version, group.detector_digest
                )
                registry.fetch(detector, folder / "bundle", registry_settings)
                shifts = _looked_at(folder)
        finally:
            chosen.unpersist()
    rows = []
    for place, one in enumerate(windows):
        figure = _figure(shifts.get(str(place)), settings)
        seen = (counts[str(place)], counts[_REFERENCE])
        rows.append(row_of(one, EMBEDDING, figure, seen, (None, None), now))
    return rows


def _figure(shift: _Shift | None, settings: DriftSettings) -> Figure:
    if shift is None:
        return absent(Statistic.MAHALANOBIS, settings, Status.TOO_FEW)
    return judged(Statistic.MAHALANOBIS, shift.value, shift.chance, settings)


def _sample(archive: DataFrame, group: Group, periods: Mapping[str, Period], most: int) -> DataFrame:
    """`period` and `inspection_id` of at most `most` frames of each period, the same ones each time."""
    spark = archive.sparkSession
    times = spark.createDataFrame(
        [(name, period.start, period.end) for name, period in periods.items()],
        "period string, opened timestamp, closed timestamp",
    )
    ours = archive.where((f.col("camera") == group.camera) & (f.col("product") == group.product))
    # literal bounds, so that the files of other days stay unread
    first = min(period.start for period in periods.values()).date()
    last = max(period.end for period in periods.values()).date()
    ours = ours.where(f.col("day").between(f.lit(first), f.lit(last))).select("inspection_id", "captured_at")
    within = (f.col("captured_at") >= f.col("opened")) & (f.col("captured_at") < f.col("closed"))
    dealt = Window.partitionBy("period").orderBy(f.xxhash64("inspection_id"), "inspection_id")
    ranked = ours.join(f.broadcast(times), within).withColumn("rank", f.row_number().over(dealt))
    return ranked.where(f.col("rank") <= most).select("period", "inspection_id")


def _write(frames: DataFrame, periods: set[str], folder: Path) -> None:
    rows = frames.where(f.col("period").isin(*periods)).select("period", "jpeg").toLocalIterator()
    for number, row in enumerate(rows):
        place = folder / _REFERENCE if row.period == _REFERENCE else folder / "windows" / row.period
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.jpg").write_bytes(row.jpeg)


def _looked_at(folder: Path) -> Mapping[str, _Shift]:
    """What `models.drift` says of the windows in `folder`; raises DetectorError with its reason."""
    command = [sys.executable, "-m", "models.drift", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PROCESS_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise DetectorError(f"the embeddings were not computed within {_PROCESS_SECONDS:g} s") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise DetectorError(said[-1])
    return msgspec.json.decode(done.stdout, type=dict[str, _Shift])


def _computed(spark: SparkSession, tables: TableSettings) -> set[tuple[object, ...]]:
    """Windows that had ended when their embeddings were compared: their frames are the same as then."""
    from delta.tables import DeltaTable

    path = tables.path(DRIFT.name)
    if not DeltaTable.isDeltaTable(spark, path):
        return set()
    names = ("camera", "product", "detector_digest", "window_start", "window_end", "reference_start", "reference_end")
    ended = (f.col("measure") == EMBEDDING) & f.col("value").isNotNull() & (f.col("computed_at") > f.col("window_end"))
    times = (f.unix_micros(name).alias(name) if name.endswith(("_start", "_end")) else f.col(name) for name in names)
    return {tuple(row) for row in spark.read.format("delta").load(path).where(ended).select(*times).collect()}


def _identity(one: Compared) -> tuple[object, ...]:
    group = one.frames.group
    times = (one.window.start, one.window.end, one.reference.first, one.reference_end)
    return (group.camera, group.product, group.detector_digest, *(_micros(time) for time in times))


def _micros(time: datetime) -> int:
    return round(time.timestamp() * 1_000_000)
