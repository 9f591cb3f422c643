"""Judging pictures inside Spark SQL, for engineers who score an archive.

The functions here are Arrow UDFs over a column of paths or of encoded pictures. Each Python worker process loads the
detector when it sees its first picture and keeps it. A picture that cannot be judged gives a row with `error`, a
detector that cannot be loaded fails the query.

They are declared nondeterministic although they are not: Spark would otherwise judge each picture once for the filter
and once more for the projection of `SELECT … FROM (SELECT inspect_image(path) AS seen …) WHERE seen.class = 'defect'`.
The price: a call cannot stand inside an aggregate such as `avg(inspect_image(path).score)`; Spark refuses it with a
message, and a subquery does the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, SparkSession
from pyspark.sql.functions import arrow_udf

from models.runtime.view import View
from sightline.settings import RegistrySettings
from streaming.picture_judge import Answer, JudgePlan, judge_for, plan_for

SQL_NAME = "inspect_image"

_DETECTOR = pa.struct([("name", pa.string()), ("version", pa.string()), ("digest", pa.string())])
RESULT = pa.struct(
    [
        ("class", pa.string()),
        ("score", pa.float64()),
        ("confidence", pa.float64()),
        ("probabilities", pa.struct([("ok", pa.float64()), ("defect", pa.float64())])),
        ("anomaly_map", pa.list_(pa.list_(pa.float32()))),
        ("error", pa.string()),
        ("threshold", pa.float64()),
        ("detector", _DETECTOR),
    ]
)
RESULT_DDL = (
    "class string, score double, confidence double, probabilities struct<ok: double, defect: double>, "
    "anomaly_map array<array<float>>, error string, threshold double, "
    "detector struct<name: string, version: string, digest: string>"
)


def get_image_inference_udf(
    column: Column | str,
    backend: str = "openvino",
    *,
    detector: str | Path | None = None,
    anomaly_map: bool = False,
    threads: int = 1,
    view: View | None = None,
    settings: RegistrySettings | None = None,
) -> Column:
    """A column that says of each picture in `column` what `detector` thinks of it, as a struct.

    `column` holds strings (local paths or `file:` URIs that the workers see) or binaries (encoded pictures, as Spark's
    `binaryFile` reads them from anywhere). `backend` is `pytorch`, `onnx`, `openvino` or `tensorrt`; another one is
    never taken instead. `detector` is a bundle's folder, or `PRODUCT`, `PRODUCT@VERSION` or `PRODUCT@ALIAS` in the
    registry of `settings`; without it, the champion of a registry that has one alone. `threads` is what one worker
    process may use on a CPU, `view` the region and mask of the camera that took the pictures.

    The struct: `class` ok, review or defect; `score` in the detector's unit; `threshold` from which it says defect;
    `probabilities.ok`, the share of good frames that score at least as high, and `.defect`, the share that score lower;
    `confidence`, the one of these that speaks for the class; `anomaly_map`, rows of cells over the whole picture in
    the unit of the score, where asked for; `error`; and the `detector` that judged. The probabilities are tail
    probabilities from the detector's card, null where it states no rates: half of all good frames have an `ok` below
    0.5 (`models.runtime.good_scores`).

    Raises DetectorError or RegistryError when the detector cannot be had; see `streaming.picture_judge.plan_for`.
    """
    plan = plan_for(detector, backend, threads=threads, view=view, settings=settings)
    found: Column = inference_udf(plan, anomaly_map=anomaly_map)(column)
    return found


def register_image_inference(
    spark: SparkSession,
    backend: str = "openvino",
    *,
    detector: str | Path | None = None,
    name: str = SQL_NAME,
    anomaly_map: bool = False,
    threads: int = 1,
    view: View | None = None,
    settings: RegistrySettings | None = None,
) -> None:
    """Give the SQL of this session the function `name(path or binary)`; see `get_image_inference_udf`."""
    plan = plan_for(detector, backend, threads=threads, view=view, settings=settings)
    spark.udf.register(name, inference_udf(plan, anomaly_map=anomaly_map))


def inference_udf(plan: JudgePlan, *, anomaly_map: bool = False) -> Any:
    """The Arrow UDF itself: called with a column, it gives a column of RESULT."""

    def judged(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        judge = judge_for(plan)
        for batch in batches:
            yield to_arrow(judge.judge(batch.to_pylist()), plan, anomaly_map=anomaly_map)

    return arrow_udf(judged, RESULT_DDL).asNondeterministic()


def to_arrow(answers: list[Answer], plan: JudgePlan, *, anomaly_map: bool) -> pa.Array:
    """`answers` as an array of RESULT."""
    detector = {"name": plan.name, "version": plan.version, "digest": plan.digest}
    rows = [
        {
            "class": answer.verdict and answer.verdict.value,
            "score": answer.score,
            "confidence": answer.confidence,
            "probabilities": None if answer.ok is None else {"ok": answer.ok, "defect": answer.defect},
            "anomaly_map": list(answer.anomaly_map) if anomaly_map and answer.anomaly_map is not None else None,
            "error": answer.error,
            "threshold": plan.threshold,
            "detector": detector,
        }
        for answer in answers
    ]
    return pa.array(rows, RESULT)
