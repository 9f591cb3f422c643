from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from kafka.partitioner.default import murmur2

from benchmarks.cameras import camera_names
from benchmarks.measured import Part, Series, percentiles, ratio, write_json
from benchmarks.pictures import from_folder, simulated
from benchmarks.pipeline import slope
from benchmarks.watch import Seen
from models.runtime.decode import probe
from sightline.errors import SourceError


def test_a_ratio_is_taken_round_by_round() -> None:
    shares = ratio(Series((8.0, 20.0, 27.0)), Series((10.0, 20.0, 30.0)))
    assert shares.values == (0.8, 1.0, 0.9)
    assert shares.median == 0.9
    assert shares.spread == pytest.approx(0.1 / 0.9)


def test_targets_are_met_or_missed_and_told_in_json(tmp_path: Path) -> None:
    part = Part("pipeline")
    part.add("ratio", Series((0.7, 0.9, 0.8)), "×", least=0.8)
    part.add("p50", 251.0, "ms", most=250)
    part.add("cores", 2)
    part.faults.append("one frame was lost")
    assert [row.met for row in part.rows] == [True, False, None]
    write_json(tmp_path / "sub" / "bench.json", {"cores": 2}, [part])
    found = json.loads((tmp_path / "sub" / "bench.json").read_text())["parts"]["pipeline"]
    assert found["facts"]["ratio"] == {
        "value": 0.8, "unit": "×", "rounds": [0.7, 0.9, 0.8], "target": "≥ 0.8", "met": True,
    }  # fmt: skip
    assert found["faults"] == ["one frame was lost"]


def test_percentiles_of_nothing_are_no_numbers() -> None:
    assert percentiles([1, 2, 3], (50, 100)) == {"p50": 2.0, "p100": 3.0}
    assert np.isnan(percentiles([], (50,))["p50"])


def test_the_slope_leaves_out_start_and_end() -> None:
    steady = {("a", n): 100 + n / 50 for n in range(200)}
    late_start = {("a", n): at if n else 0.0 for n, (_, at) in enumerate(steady.items())}
    assert slope(Seen(verdicts=late_start)) == pytest.approx(50)


@pytest.mark.parametrize(
    ("refused", "dead", "repeated", "said"),
    [
        (0, 0, 0, "of 3 frames 1 were lost"),
        (1, 0, 0, "0 were lost, 1 refused"),
        (0, 1, 0, "1 dead-lettered"),
        (1, 0, 2, "2 repeated"),
    ],
)
def test_whatever_is_not_one_verdict_for_each_frame_is_said(refused: int, dead: int, repeated: int, said: str) -> None:
    verdicts = {("cam", 0): 1.0, ("cam", 1): 2.0}
    assert Seen(verdicts=verdicts).wrong(2) is None
    assert said in str(Seen(verdicts=verdicts, dead_letters=dead, repeated=repeated).wrong(3, refused))


@pytest.mark.parametrize(("cameras", "partitions"), [(4, 2), (6, 3), (5, 1)])
def test_cameras_fall_evenly_on_partitions(cameras: int, partitions: int) -> None:
    names = camera_names(cameras, partitions)
    placed = [(murmur2(name.encode()) & 0x7FFFFFFF) % partitions for name in names]
    assert len(set(names)) == cameras
    assert max(map(placed.count, range(partitions))) == -(-cameras // partitions)


def test_simulated_frames_are_jpegs_of_the_size_asked_for_with_defects_among_them() -> None:
    frames = simulated("gear", 256, 256, count=40)
    assert {probe(jpeg) for jpeg in frames.jpegs} == {(256, 256)}
    assert "good" in frames.labels and len(set(frames.labels)) > 1


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=str(tmp_path)):
        from_folder(tmp_path, 64, 64)
