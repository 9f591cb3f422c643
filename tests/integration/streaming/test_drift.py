"""Drift from a real Delta history: what changed is named, what did not is left alone, and nothing is told twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from sightline.errors import TableError
from sightline.settings import TableSettings
from streaming.drift import DRIFT, Period
from streaming.drift_run import Drift, run
from streaming.drift_statistics import DriftSettings
from streaming.tables import TABLES, create_table

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
SETTINGS = DriftSettings(min_frames=100)


@pytest.fixture(scope="module")
def tables(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> TableSettings:
    """Two cameras, a frame every six seconds: 300 on Monday at 06:00, 200 on Tuesday, 20 on Wednesday.

    From Tuesday on cam-2 sees blurred, and cam-1 has a new version of the detector with ten times the scores.
    """
    tables = TableSettings(root=str(tmp_path_factory.mktemp("tables")))
    draw = np.random.default_rng(0)
    rows = []
    for camera in ("cam-1", "cam-2"):
        for day, count in enumerate((300, 200, 20)):
            version = "2" if camera == "cam-1" and day else "1"
            for number in range(count):
                captured = MONDAY + timedelta(days=day, hours=6, seconds=6 * number)
                quality = {"blur": draw.normal(200 if camera == "cam-2" and day else 400, 30), "exposure": 120.0}
                rows.append(
                    {
                        "camera": camera,
                        "sequence": 1000 * day + number,
                        "captured_at": captured,
                        "product": "cap",
                        "score": draw.gumbel(1, 0.1) * (10 if version == "2" else 1),
                        "detector": {"name": "sightline.cap", "version": version, "digest": version * 8},
                        "quality": {name: float(value) for name, value in quality.items()},
                        "day": captured.date(),
                    }
                )
    schema = TABLES["inspections"].schema
    path = create_table(spark, TABLES["inspections"], tables)
    full = [{name: row.get(name) for name in schema.names} for row in rows]
    spark.createDataFrame(full, schema).write.format("delta").mode("append").save(path)
    return tables


def told(found: Drift) -> dict[tuple[object, ...], str]:
    return {(row.camera, row.window_start.day, row.measure, row.statistic): row.status for row in found.rows}


def test_what_drifted_is_named_and_computing_again_changes_nothing(spark: SparkSession, tables: TableSettings) -> None:
    found = run(spark, tables, SETTINGS, 250)
    status = told(found)
    assert {key for key, value in status.items() if value == "drift"} == {
        ("cam-2", 3, "blur", "psi"),
        ("cam-2", 3, "blur", "wasserstein"),
    }
    assert status["cam-2", 3, "score", "psi"] == "ok"
    assert status["cam-2", 3, "exposure", "wasserstein"] == "no spread"
    # Monday's 50 that the reference did not take, and Wednesday's 20
    assert status["cam-2", 2, "blur", "psi"] == status["cam-2", 4, "blur", "psi"] == "too few"
    # a new version of the detector has a reference of its own: nothing of Tuesday is compared with Monday
    assert [one for one in status if one[0] == "cam-1" and one[1] == 3] == []
    (blurred,) = (row for row in found.rows if row.status == "drift" and row.statistic == "wasserstein")
    assert (blurred.frames, blurred.reference_frames) == (200, 250)
    assert blurred.value == pytest.approx(200 / 30, rel=0.15)
    assert blurred.window_start == MONDAY + timedelta(days=1)

    stored = spark.read.format("delta").load(tables.path(DRIFT.name))
    first = sorted(stored.select("camera", "window_start", "measure", "statistic", "computed_at").collect())
    run(spark, tables, SETTINGS, 250)
    again = spark.read.format("delta").load(tables.path(DRIFT.name)).select(*stored.columns)
    assert sorted(again.select("camera", "window_start", "measure", "statistic", "computed_at").collect()) == first
    assert len(first) == len(found.rows)


@pytest.mark.long
def test_a_reference_can_be_a_time_and_windows_can_begin_later(spark: SparkSession, tables: TableSettings) -> None:
    monday = Period(MONDAY, MONDAY + timedelta(days=1))
    found = run(spark, tables, SETTINGS, monday, since=MONDAY + timedelta(days=2, hours=1))
    assert {row.window_start.day for row in found.rows} == {4}
    # version 2 judged nothing on that Monday
    assert {row.camera for row in found.rows} == {"cam-2"}
    assert any("cam-1, cap, detector 2" in note for note in run(spark, tables, SETTINGS, monday).notes)


def test_without_inspections_the_remedy_is_named(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"no table at .*sightline history"):
        run(spark, TableSettings(root=str(tmp_path)), SETTINGS, 250)
