"""Which versions judged while the registry was away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
from deltalake import write_deltalake

from benchmarks.chaos.detectors import _judges

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def row(camera: str, seconds: float, version: str) -> dict[str, Any]:
    detector = {"name": "sightline.washer", "version": version, "digest": "0"}
    return {"camera": camera, "captured_at": NOON + timedelta(seconds=seconds), "detector": detector}


def test_judges_of_frames_since_then_are_counted_without_cameras_whose_clock_is_wrong(tmp_path: Path) -> None:
    rows = [row("cam-0", -1, "1"), row("cam-0", 0, "2"), row("cam-1", 5, "2"), row("cam-1", 6, "3")]
    rows.append(row("odd-1f", 3600, "1"))
    write_deltalake(str(tmp_path / "inspections"), pa.Table.from_pylist(rows))
    assert _judges(cast("Any", SimpleNamespace(tables=tmp_path)), NOON) == {"2": 2, "3": 1}
