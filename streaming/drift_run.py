"""One computation of drift: compare, look at the pictures, write the table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sightline.settings import RegistrySettings, TableSettings
from streaming.drift import (
    Bounds,
    DriftRow,
    Group,
    Period,
    compared,
    read_inspections,
    references,
    tabular_rows,
    write_rows,
)
from streaming.drift_embeddings import embedding_rows
from streaming.drift_statistics import DriftSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True, slots=True)
class Drift:
    """The rows of all windows, and what people should know about those that are missing."""

    rows: list[DriftRow]
    notes: list[str]


def run(
    spark: SparkSession,
    tables: TableSettings,
    settings: DriftSettings,
    reference: Period | int,
    *,
    since: datetime | None = None,
    registry_settings: RegistrySettings | None = None,
) -> Drift:
    """Compare all windows that end after `since` with `reference`, and write what comes of it.

    Without `registry_settings` no embeddings are looked at. Raises TableError when there are no inspections.
    """
    now = datetime.now(UTC)
    inspections = read_inspections(spark, tables)
    bounds = references(inspections, reference)
    windows = list(compared(inspections, bounds, settings, since))
    rows = [row for one in windows for row in tabular_rows(one, settings, now)]
    notes = _without(bounds, {one.frames.group for one in windows}) if since is None else []
    if registry_settings is not None and windows:
        looked_at = embedding_rows(spark, tables, registry_settings, settings, windows, now)
        rows += looked_at.rows
        notes += looked_at.refusals
    write_rows(spark, tables, rows)
    return Drift(rows, notes)


def _without(bounds: list[Bounds], told: set[Group]) -> list[str]:
    return [
        f"{one.group.camera}, {one.group.product}, detector {one.group.detector_version}: no frames after its "
        f"reference, {one.reference.start:%Y-%m-%d %H:%M} to {one.reference.end:%Y-%m-%d %H:%M} UTC, or none in it; "
        "choose another with --reference"
        for one in bounds
        if one.group not in told
    ]
