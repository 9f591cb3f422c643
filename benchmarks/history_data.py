"""A made-up history in the product's own tables: `python -m benchmarks.history_data FOLDER [--frames N]`.

Lines, cameras and days with bursts of defects, incidents and what operators did about them, heartbeats, dropped frames
and dead letters; the tables have the schema, properties and partitions of `streaming.tables`, and the rows stand as
`sightline optimize` leaves them: by camera and time, in files of as many rows as full-size rows would fill. Equal
arguments give equal rows.

What bounds the disk: a share of `pictures` of the good frames carries a heat map of 32 × 32 bytes, as every real row
does; the other good frames carry one of 4 × 4. Defects and reviews have the full map, defects a thumbnail of some 7 kB.
`frame_archive` holds the defects of the last day only, 30 kB each. Ten million rows take some 5 GB instead of 16.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import WriterProperties, write_deltalake
from numpy.typing import NDArray
from pyspark.sql.pandas.types import to_arrow_schema

from benchmarks.history_columns import pieces
from benchmarks.history_incidents import Incidents
from benchmarks.history_line import THRESHOLD, Plan, camera_day, detector, midnight
from benchmarks.history_tables import Columns, archive, camera_events, dead_letters, inspections
from sightline.settings import TableSettings
from streaming.tables import TABLES, table_properties


def generate(settings: TableSettings, plan: Plan, tell: Callable[[str], None] = lambda _: None) -> None:
    """Write all tables under `settings.root`, a day at a time; the folder must not hold them yet."""
    rng = np.random.default_rng(plan.seed)
    pictures = _picture_bytes(rng)
    for day in range(plan.days):
        seen = [camera_day(plan, number, day) for number in range(len(plan.cameras))]
        begin = midnight(plan, day)
        _write(settings, "inspections", inspections(plan, seen, rng, pictures), plan)
        _write(settings, "camera_events", camera_events(seen, rng, begin), plan)
        _write(settings, "dead_letters", dead_letters(seen, rng, pictures), plan)
        incidents = Incidents.of(
            [(one.line, one.camera, one.sequence[one.defect], one.captured[one.defect], one.score[one.defect])
             for one in seen], rng,
        )  # fmt: skip
        last = day == plan.days - 1
        if incidents.count:
            judge = {"name": "sightline.bottle_cap", **detector(plan, day)}
            thumbnails = pieces(pictures, rng, incidents.count, 7_000)
            alerts = incidents.alerts(judge, THRESHOLD, thumbnails, open_last=last)
            _write(settings, "alerts", alerts, plan)
            _write(settings, "operator_actions", incidents.actions(), plan)
        if last:
            _write(settings, "frame_archive", archive(seen, rng, pictures), plan)
        tell(f"day {day + 1} of {plan.days}")


def _picture_bytes(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Bytes that compress as little as heat maps and JPEGs do."""
    return rng.integers(0, 256, 1 << 25, dtype=np.uint8)


def _write(settings: TableSettings, name: str, columns: Columns, plan: Plan) -> None:
    table = TABLES[name]
    schema = to_arrow_schema(table.schema, timezone="UTC")
    at = columns[table.event_time]
    arrays = columns | {"day": at.cast(pa.timestamp("us")).cast(pa.date32(), safe=False)}
    typed = [pa.array(arrays[name]).cast(schema.field(name).type) for name in schema.names]
    rows = pa.Table.from_arrays(typed, schema=schema)
    path = settings.path(name)
    new = not Path(path, "_delta_log").exists()
    size = rows.nbytes / max(rows.num_rows, 1) * plan.rows_per_file
    write_deltalake(
        path,
        rows,
        mode="append",
        partition_by=["day"],
        description=table.comment if new else None,
        configuration=table_properties(table) if new else None,
        target_file_size=max(int(size), 1 << 20),
        writer_properties=WriterProperties(compression="SNAPPY", max_row_group_size=plan.rows_per_file),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=Plan().frames)
    parser.add_argument("--seed", type=int, default=Plan().seed)
    parser.add_argument("--as-ingested", action="store_true", help="rows by time, all cameras mixed")
    given = parser.parse_args()
    began = time.perf_counter()
    plan = Plan(frames=given.frames, seed=given.seed, clustered=not given.as_ingested)
    generate(TableSettings(root=str(given.folder)), plan, print)
    size = sum(path.stat().st_size for path in given.folder.rglob("*.parquet"))
    print(f"{given.frames:,} frames, {size / 1e9:.2f} GB in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
