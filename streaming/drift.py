"""Drift of scores, picture quality and embeddings, by camera and window, from the table `inspections`.

What is compared: the frames of one camera and product that one version of the detector judged, in windows (a day by
default), with a reference of the same: its first inspections, or those of a time that is named. Another version has
another reference, since its scores mean something else. Frames of the reference are in no window.

Executors make one summary of each window and measure (`drift_statistics`), so that ten million rows are read once and
never come to the driver. The rows go into `gold_drift` by a MERGE: computing the same again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as f

from sightline.errors import SettingsError, TableError
from sightline.settings import TableSettings
from streaming.drift_statistics import LEVELS, DriftSettings, Figure, Summary, compare
from streaming.tables import GOLD, create_table

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, Row, SparkSession

DRIFT = GOLD["gold_drift"]
EMBEDDING = "embedding"
MEASURES = {"score": "score", "blur": "quality.blur", "exposure": "quality.exposure"}
"""What is compared, and its column in `inspections`."""

_GROUP = ("camera", "product", "detector_name", "detector_version", "detector_digest")
_ACCURACY = 10_000
"""Ranks of a quantile are exact to one in so many (Spark's `percentile_approx`)."""


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` up to `end`, excluded; both UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise SettingsError(f"{self.start:%Y-%m-%d %H:%M}..{self.end:%Y-%m-%d %H:%M} ends before it begins")


@dataclass(frozen=True, slots=True)
class Group:
    """What is watched by itself: one camera's frames of one product, judged by one version of the detector."""

    camera: str
    product: str
    detector_name: str
    detector_version: str
    detector_digest: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which time is a group's reference."""

    group: Group
    reference: Period


@dataclass(frozen=True, slots=True)
class Stretch:
    """Frames of a group: how many, from the first to the last (both included), and a summary of each measure."""

    group: Group
    count: int
    first: datetime
    last: datetime
    summaries: dict[str, Summary]


@dataclass(frozen=True, slots=True)
class Compared:
    """A window and the reference that it is compared with."""

    window: Period
    frames: Stretch
    reference: Stretch
    reference_end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRow:
    """One row of `gold_drift`, whose columns it has."""

    camera: str
    product: str
    detector_version: str
    detector_digest: str
    window_start: datetime
    window_end: datetime
    measure: str
    statistic: str
    frames: int
    reference_frames: int
    reference_start: datetime
    reference_end: datetime
    mean: float | None
    reference_mean: float | None
    value: float | None
    watch: float
    act: float
    chance: float | None
    status: str
    computed_at: datetime


def read_inspections(spark: SparkSession, tables: TableSettings) -> DataFrame:
    """The columns that are compared; raises TableError when there is no such table."""
    from delta.tables import DeltaTable

    path = tables.path("inspections")
    if not DeltaTable.isDeltaTable(spark, path):
        raise TableError(f"there is no table at {path}; start `sightline history`, or set [tables] root")
    detector = (f.col(f"detector.{name}").alias(f"detector_{name}") for name in ("name", "version", "digest"))
    measures = (f.col(column).alias(name) for name, column in MEASURES.items())
    return spark.read.format("delta").load(path).select("camera", "product", "captured_at", *detector, *measures)


def references(inspections: DataFrame, reference: Period | int) -> list[Bounds]:
    """The reference of each group: one period for all, or so many first inspections, to the minute."""
    if isinstance(reference, Period):
        groups = inspections.select(*_GROUP).distinct().collect()
        return [Bounds(_group(row), reference) for row in groups]
    minutes = inspections.groupBy(*_GROUP, f.date_trunc("minute", "captured_at").alias("minute")).count()
    before = Window.partitionBy(*_GROUP).orderBy("minute").rowsBetween(Window.unboundedPreceding, -1)
    # a minute belongs to it while those before it held too few
    counted = minutes.withColumn("before", f.coalesce(f.sum("count").over(before), f.lit(0)))
    taken = counted.where(f.col("before") < reference).groupBy(*_GROUP)
    found = taken.agg(f.min("minute").alias("opened"), f.max("minute").alias("closed")).collect()
    return [Bounds(_group(row), Period(_utc(row.opened), _utc(row.closed) + timedelta(minutes=1))) for row in found]


def compared(
    inspections: DataFrame, bounds: Sequence[Bounds], settings: DriftSettings, since: datetime | None = None
) -> Iterator[Compared]:
    """Every window after its reference that ends after `since`; a few of them come to the driver at a time.

    A group without frames in its reference has none.
    """
    joined = inspections.join(f.broadcast(_as_frame(inspections.sparkSession, bounds)), list(_GROUP))
    captured = f.col("captured_at")
    inside = (captured >= f.col("reference_start")) & (captured < f.col("reference_end"))
    known = {_group(row): (_stretch(row), _utc(row.reference_end)) for row in _summarised(joined.where(inside), [])}
    seconds = settings.window_hours * 3600
    start = f.timestamp_seconds(f.floor(f.unix_seconds("captured_at") / seconds) * seconds)
    later = joined.where(captured >= f.col("reference_end")).withColumn("window_start", start)
    if since is not None:
        later = later.where(f.col("window_start") > f.lit(since - timedelta(seconds=seconds)))
    for row in _summarised(later, ["window_start"]):
        if found := known.get(_group(row)):
            opened = _utc(row.window_start)
            yield Compared(Period(opened, opened + timedelta(seconds=seconds)), _stretch(row), *found)


def tabular_rows(one: Compared, settings: DriftSettings, now: datetime) -> list[DriftRow]:
    """The rows of a window for scores and picture quality."""
    rows = []
    for measure, summary in one.frames.summaries.items():
        reference = one.reference.summaries[measure]
        means = (summary.mean, reference.mean)
        counts = (summary.count, reference.count)
        rows += [row_of(one, measure, figure, counts, means, now) for figure in compare(reference, summary, settings)]
    return rows


def row_of(
    one: Compared,
    measure: str,
    figure: Figure,
    counts: tuple[int, int],
    means: tuple[float | None, float | None],
    now: datetime,
) -> DriftRow:
    """The row of one figure; `counts` and `means` are those of the window and of the reference."""
    group = one.frames.group
    return DriftRow(
        camera=group.camera,
        product=group.product,
        detector_version=group.detector_version,
        detector_digest=group.detector_digest,
        window_start=one.window.start,
        window_end=one.window.end,
        measure=measure,
        statistic=figure.statistic.value,
        frames=counts[0],
        reference_frames=counts[1],
        reference_start=one.reference.first,
        reference_end=one.reference_end,
        mean=means[0],
        reference_mean=means[1],
        value=figure.value,
        watch=figure.limits.watch,
        act=figure.limits.act,
        chance=figure.chance,
        status=figure.status.value,
        computed_at=now,
    )


def write_rows(spark: SparkSession, tables: TableSettings, rows: Sequence[DriftRow]) -> None:
    """Add the rows to `gold_drift`; one that is there is replaced where it rests on other frames or limits."""
    from delta.tables import DeltaTable

    path = create_table(spark, DRIFT, tables)
    if not rows:
        return
    values = [tuple((asdict(row) | {"day": row.window_start.date()}).values()) for row in rows]
    new = spark.createDataFrame(values, DRIFT.schema).coalesce(1).alias("new")
    days = sorted({row.window_start.date() for row in rows})
    # a literal bound, so that the files of other days stay unread
    same = f.col("there.day").between(f.lit(days[0]), f.lit(days[-1]))
    for name in DRIFT.key:
        same = same & (f.col(f"there.{name}") == f.col(f"new.{name}"))
    # not the figures themselves: sums in another order differ in their last digit
    told = ("frames", "reference_frames", "reference_start", "reference_end", "watch", "act", "status")
    alike = " AND ".join(f"new.{name} <=> there.{name}" for name in told)
    there = DeltaTable.forPath(spark, path).alias("there")
    there.merge(new, same).whenMatchedUpdateAll(f"NOT ({alike})").whenNotMatchedInsertAll().execute()


def _summarised(frames: DataFrame, keys: Iterable[str]) -> Iterator[Row]:
    """One row for each group and `keys`: count, extent, and of each measure its mean, deviation and quantiles."""
    levels = f.array(*(f.lit(level) for level in LEVELS))
    facts: list[Column] = [
        f.count("*").alias("n"),
        f.min("captured_at").alias("first"),
        f.max("captured_at").alias("last"),
    ]
    for name in MEASURES:
        facts += [
            f.avg(name).alias(f"{name}_mean"),
            f.stddev_pop(name).alias(f"{name}_deviation"),
            f.percentile_approx(name, levels, _ACCURACY).alias(f"{name}_quantiles"),
        ]
    by = [*_GROUP, "reference_start", "reference_end", *keys]
    rows: Iterator[Row] = frames.groupBy(*by).agg(*facts).orderBy(*keys, *_GROUP).toLocalIterator()
    return rows


def _as_frame(spark: SparkSession, bounds: Sequence[Bounds]) -> DataFrame:
    rows = [(*astuple(one.group), one.reference.start, one.reference.end) for one in bounds]
    text = ", ".join(f"{name} string" for name in _GROUP)
    return spark.createDataFrame(rows, f"{text}, reference_start timestamp, reference_end timestamp")


def _stretch(row: Row) -> Stretch:
    summaries = {
        name: Summary.of(row.n, row[f"{name}_mean"], row[f"{name}_deviation"], row[f"{name}_quantiles"])
        for name in MEASURES
    }
    return Stretch(_group(row), row.n, _utc(row["first"]), _utc(row["last"]), summaries)


def _group(row: Row) -> Group:
    return Group(*(row[name] for name in _GROUP))


def _utc(local: datetime) -> datetime:
    """Spark gives times without a zone, in the machine's own."""
    return local.astimezone(UTC)
