"""Scoring an archive by Spark SQL beside a plain Python loop: `python -m benchmarks.sql BUNDLE FOLDER [--json FILE]`.

Both read the same files and give the same answers, in turns, after a warm-up. Spark runs one process a core with one
thread each, the loop one process with a thread a core. Nothing is left to laziness: each side adds up every score,
share and class (with `--maps` every map too), and the run fails unless both sums agree.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from benchmarks.measured import Part, Series
from streaming.picture_folder import read_folder
from streaming.picture_judge import JudgePlan, plan_for
from streaming.score_images import by_python, path_frame

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PYTHON, SPARK = "python loop", "spark sql"
BACKENDS = ("openvino", "onnx")
ROUNDS = 5
PICTURES = 480

Sums = dict[str, float]
"""Counts and sums over all answers."""


def measure(
    bundle: Path,
    folder: Path,
    spark: SparkSession,
    *,
    backends: Sequence[str] = BACKENDS,
    pictures: int = PICTURES,
    rounds: int = ROUNDS,
    maps: bool = False,
) -> dict[str, Any]:
    """Pictures a second of both sides by backend: every round, median and spread, and their ratio round by round.

    The files of `folder` are taken again and again until there are `pictures`. Raises AssertionError when the sides
    disagree: then one of them did not do the work.
    """
    files = [picture.path for picture in read_folder(folder)]
    paths = [files[place % len(files)] for place in range(pictures)]
    slots = spark.sparkContext.defaultParallelism
    found: dict[str, Any] = {
        "pictures": pictures,
        "files": len(files),
        "slots": slots,
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "maps": maps,
        "backends": {},
    }
    for backend in backends:
        loop = plan_for(bundle, backend, threads=slots)
        query = plan_for(bundle, backend, threads=1)
        sides: dict[str, Callable[[Sequence[Path]], Sums]] = {
            PYTHON: partial(_by_python, loop, maps=maps),
            SPARK: partial(_by_spark, spark, query, maps=maps),
        }
        for run in sides.values():
            run(paths[: 16 * slots])
        rates: dict[str, list[float]] = {name: [] for name in sides}
        sums: dict[str, Sums] = {}
        for number in range(rounds):
            # neither side is always the first
            for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
                began = time.perf_counter()
                sums[name] = sides[name](paths)
                rates[name].append(pictures / (time.perf_counter() - began))
        _check(sums, pictures)
        ratios = [query / loop for query, loop in zip(rates[SPARK], rates[PYTHON], strict=True)]
        found["backends"][backend] = {
            **{name: _series(values) for name, values in rates.items()},
            "spark over loop": _series(ratios),
            "sums": sums,
        }
    return found


def _by_python(plan: JudgePlan, paths: Sequence[Path], *, maps: bool) -> Sums:
    answers = by_python(plan, paths)
    judged = [answer for answer in answers if answer.error is None]
    sums = {
        "rows": len(answers),
        "judged": len(judged),
        "defects": sum(answer.verdict == "defect" for answer in judged),
        "score": math.fsum(answer.score or 0 for answer in judged),
        "share": math.fsum(answer.ok or 0 for answer in judged),
    }
    if maps:
        sums["map"] = math.fsum(float(a.anomaly_map.sum()) for a in judged if a.anomaly_map is not None)
    return sums


def _by_spark(spark: SparkSession, plan: JudgePlan, paths: Sequence[Path], *, maps: bool) -> Sums:
    from pyspark.sql import functions as f

    from streaming.inference_udf import inference_udf

    seen = path_frame(spark, paths).select(inference_udf(plan, anomaly_map=maps)("path").alias("seen"))
    sums = [
        f.count(f.lit(1)).alias("rows"),
        f.count("seen.class").alias("judged"),
        f.count_if(f.col("seen.class") == "defect").alias("defects"),
        f.sum("seen.score").alias("score"),
        f.coalesce(f.sum("seen.probabilities.ok"), f.lit(0.0)).alias("share"),
    ]
    if maps:
        cells = f.flatten("seen.anomaly_map")
        sums.append(f.sum(f.aggregate(cells, f.lit(0.0), lambda total, cell: total + cell)).alias("map"))
    (row,) = seen.agg(*sums).collect()
    return {name: row[name] for name in row.asDict()}


def _check(sums: dict[str, Sums], pictures: int) -> None:
    ours, theirs = sums[PYTHON], sums[SPARK]
    assert ours["rows"] == theirs["rows"] == pictures, f"not every picture was answered: {sums}"
    for name, value in ours.items():
        assert math.isclose(value, theirs[name], rel_tol=1e-4), f"the sides disagree in {name}: {sums}"


def _series(values: Sequence[float]) -> dict[str, Any]:
    """`spread` is half of what lies between the lowest and the highest round, as a share of the median."""
    middle = statistics.median(values)
    return {"rounds": list(values), "median": middle, "spread": (max(values) - min(values)) / 2 / middle}


def as_part(found: dict[str, Any]) -> Part:
    """The measurement as a part of `sightline bench`."""
    part = Part(f"batch scoring of {found['pictures']} pictures, {found['slots']} cores", dict(found))
    for backend, sides in found["backends"].items():
        for name in (PYTHON, SPARK):
            part.add(f"{backend}, {name}", Series(tuple(sides[name]["rounds"])), "frames/s")
        part.add(f"{backend}, Spark over loop", Series(tuple(sides["spark over loop"]["rounds"])), "×")
    return part


def show(found: dict[str, Any]) -> None:
    slots = found["slots"]
    title = f"{found['pictures']} pictures a round, {slots} cores, load before {found['load_before']}"
    table = Table("backend", f"{PYTHON}, /s", f"{SPARK}, /s", "spark over loop", title=title)
    for backend, sides in found["backends"].items():
        cells = (f"{sides[name]['median']:.1f} ± {sides[name]['spread']:.0%}" for name in (PYTHON, SPARK))
        over = sides["spark over loop"]
        table.add_row(backend, *cells, f"{over['median']:.2f} ± {over['spread']:.0%}")
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="folder of a detector bundle")
    parser.add_argument("folder", type=Path, help="pictures; of a set with `test` those in it")
    parser.add_argument("--backends", nargs="+", default=BACKENDS, help="pytorch, onnx, openvino, tensorrt")
    parser.add_argument("--pictures", type=int, default=PICTURES, help="pictures a round")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--maps", action="store_true", help="with anomaly maps")
    parser.add_argument("--json", type=Path, help="write everything into this file as well")
    asked = parser.parse_args()
    from infra.spark import build_session

    spark = build_session("sightline-benchmark-sql")
    try:
        found = measure(
            asked.bundle,
            asked.folder,
            spark,
            backends=asked.backends,
            pictures=asked.pictures,
            rounds=asked.rounds,
            maps=asked.maps,
        )
    finally:
        spark.stop()
    show(found)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
