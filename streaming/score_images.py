"""A list of pictures through one detector, by a plain Python loop or by Spark: the same answers either way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.contracts import Verdict
from streaming.picture_judge import Answer, JudgePlan, judge_for

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession


def by_python(plan: JudgePlan, paths: Sequence[Path]) -> list[Answer]:
    """One answer for each of `paths`, in their order, by this process; its detector is loaded once."""
    return judge_for(plan).judge([str(path) for path in paths])


def by_spark(spark: SparkSession, plan: JudgePlan, paths: Sequence[Path]) -> list[Answer]:
    """The same by Spark's workers, which must see these paths; anomaly maps stay there."""
    from streaming.inference_udf import inference_udf

    seen = path_frame(spark, paths).select("place", inference_udf(plan)("path").alias("seen"))
    answers = {row["place"]: row["seen"] for row in seen.collect()}
    return [_answer(answers[place]) for place in range(len(paths))]


def path_frame(spark: SparkSession, paths: Sequence[Path]) -> DataFrame:
    """`place`, the number of a picture, and `path`, dealt out to all task slots."""
    rows = [(place, str(path.absolute())) for place, path in enumerate(paths)]
    slots = spark.sparkContext.defaultParallelism
    return spark.createDataFrame(rows, "place int, path string").repartition(slots)


def _answer(seen: Row) -> Answer:
    ok, defect = seen["probabilities"] or (None, None)
    return Answer(
        verdict=seen["class"] and Verdict(seen["class"]),
        score=seen["score"],
        confidence=seen["confidence"],
        ok=ok,
        defect=defect,
        error=seen["error"],
    )
