"""The command `sightline score-images`: a folder of pictures through one detector, without a stream."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from streaming.confusion import Confusion
    from streaming.picture_folder import PictureFile
    from streaming.picture_judge import Answer, JudgePlan

app = typer.Typer(rich_markup_mode="markdown")


class Runtime(StrEnum):
    """What computes."""

    OPENVINO = "openvino"
    ONNX = "onnx"
    PYTORCH = "pytorch"
    TENSORRT = "tensorrt"


@app.command()
def score_images(
    folder: Annotated[
        Path, typer.Argument(help="Pictures, or a labelled set: `test/KIND` or one folder for each kind.")
    ],
    detector: Annotated[
        str, typer.Option(metavar="BUNDLE_OR_PRODUCT", help="A bundle's folder, or `cap`, `cap@3`, `cap@ALIAS`.")
    ],
    backend: Annotated[Runtime, typer.Option(help="What computes.")] = Runtime.OPENVINO,
    spark: Annotated[bool, typer.Option("--spark", help="By Spark's SQL function instead of a Python loop.")] = False,
    good: Annotated[list[str] | None, typer.Option(help="Name of a folder with good parts; repeat.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of the loop (all cores), or of each of Spark's workers (1).")
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="What is cut out of each picture, `x,y,width,height`, as in `[score.views]`.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="PNG of the picture's size: white is looked at.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write one line of JSON for each picture into this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print counts and times as JSON.")] = False,
) -> None:
    """Score a folder of pictures with a registered detector or a bundle, and print the confusion matrix.

    A picture that cannot be read is counted as an error with its reason. The same function is there for SQL:
    see docs/batch.md.

    Example: `sightline score-images sets/cap --detector cap@champion --backend onnx`

    Settings: `[registry]`, with `--spark` `[spark]`.
    """
    from models.runtime.view import view_of
    from streaming.confusion import Confusion
    from streaming.picture_folder import read_folder
    from streaming.picture_judge import plan_for

    pictures = read_folder(folder, tuple(good or ["good"]))
    threads = threads or (1 if spark else os.cpu_count() or 1)
    plan = plan_for(detector, backend.value, threads=threads, view=view_of(region, mask))
    answers, seconds = (_by_spark if spark else _by_python)(plan, [picture.path for picture in pictures])
    if output:
        lines = (_line(picture, answer) for picture, answer in zip(pictures, answers, strict=True))
        output.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    pairs = zip(pictures, answers, strict=True)
    confusion = Confusion.of((picture.label, answer.verdict) for picture, answer in pairs)
    summary = {
        "detector": {"name": plan.name, "version": plan.version, "digest": plan.digest},
        "backend": backend.value,
        "by": "spark" if spark else "python",
        "pictures": len(pictures),
        "classes": dict(Counter(answer.verdict or "error" for answer in answers)),
        "errors": dict(Counter(answer.error.split(":")[0] for answer in answers if answer.error)),
        "confusion": confusion.rows(),
        **(confusion.summary() if confusion.counts else {}),
        **seconds,
    }
    if as_json:
        typer.echo(json.dumps(summary))
        return
    _show(summary, confusion)
    for answer in [answer for answer in answers if answer.error][:3]:
        typer.echo(f"error: {answer.error}")


def _by_python(plan: JudgePlan, paths: Sequence[Path]) -> tuple[list[Answer], dict[str, float]]:
    from streaming.picture_judge import judge_for
    from streaming.score_images import by_python

    began = time.perf_counter()
    judge_for(plan)
    ready = time.perf_counter()
    answers = by_python(plan, paths)
    return answers, {"loading_seconds": ready - began, "scoring_seconds": time.perf_counter() - ready}


def _by_spark(plan: JudgePlan, paths: Sequence[Path]) -> tuple[list[Answer], dict[str, float]]:
    from infra.spark import build_session
    from streaming.score_images import by_spark

    began = time.perf_counter()
    session = build_session("sightline-score-images")
    try:
        ready = time.perf_counter()
        answers = by_spark(session, plan, paths)
        # the workers load their detectors when they see their first picture, so loading is part of it
        return answers, {"loading_seconds": ready - began, "scoring_seconds": time.perf_counter() - ready}
    finally:
        session.stop()


def _line(picture: PictureFile, answer: Answer) -> dict[str, object]:
    """What `--output` says of one picture."""
    return {
        "path": str(picture.path),
        "label": picture.label,
        "class": answer.verdict,
        "score": answer.score,
        "confidence": answer.confidence,
        "probabilities": None if answer.ok is None else {"ok": answer.ok, "defect": answer.defect},
        "error": answer.error,
    }


def _show(summary: Mapping[str, Any], confusion: Confusion) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from streaming.confusion import CALLED

    console = Console()
    detector = summary["detector"]
    if confusion.counts:
        table = Table("labelled", *CALLED, title=f"{escape(detector['name'])} on {summary['backend']}")
        for label, row in confusion.rows().items():
            table.add_row(escape(label), *map(str, row.values()))
        console.print(table)
        found, missed = summary["true_positives"], summary["false_negatives"]
        alarms, passed = summary["false_positives"], summary["true_negatives"]
        typer.echo(f"called defect: {found} of {found + missed} defective, {alarms} of {alarms + passed} good")
    else:
        typer.echo(", ".join(f"{count} {called}" for called, count in summary["classes"].items()))
    seconds = summary["scoring_seconds"]
    typer.echo(
        f"{summary['pictures']} pictures by {summary['by']} in {seconds:.1f} s, {summary['pictures'] / seconds:.1f}/s, "
        f"after {summary['loading_seconds']:.1f} s of loading"
    )
