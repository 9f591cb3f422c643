"""The command that judges: `evaluate`."""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.judging.judgement import Judgement
    from models.judging.thresholds import Costs, Thresholds
    from models.registry import RegisteredDetector
    from sightline.settings import RegistrySettings

app = typer.Typer()


class ThresholdBy(StrEnum):
    """How the threshold is found."""

    CARD = "card"
    F1 = "f1"
    COST = "cost"
    QUANTILE = "quantile"
    EXTREMES = "extremes"


GOOD_ONLY = (ThresholdBy.QUANTILE, ThresholdBy.EXTREMES)
"""Rules that look at good frames alone, and aim at a rate of false alarms."""


class ComputeIn(StrEnum):
    """How floating-point numbers are computed with."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class Runtime(StrEnum):
    """What computes the scores."""

    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"
    TORCH = "torch"
    TENSORRT = "tensorrt"


@app.command()
def evaluate(
    target: Annotated[
        str,
        typer.Argument(
            metavar="BUNDLE_OR_PRODUCT",
            help="A bundle's folder, or a registered product: `cap` for its champion, `cap@3`, `cap@ALIAS`.",
        ),
    ],
    data: Annotated[
        Path,
        typer.Argument(
            help="Labelled pictures in MVTec AD's layout: `test/good`, `test/KIND`, masks in `ground_truth`."
        ),
    ],
    report: Annotated[
        Path | None, typer.Option(help="Write report.html, metrics.json and the plots into this folder.")
    ] = None,
    threshold_by: Annotated[
        ThresholdBy,
        typer.Option(
            help="The card's threshold, the one of the best F1, the one that costs least, or, from good frames only, a "
            "plain quantile or extreme values."
        ),
    ] = ThresholdBy.CARD,
    miss_cost: Annotated[float | None, typer.Option(help="What a missed defect costs, in any unit.")] = None,
    false_alarm_cost: Annotated[float | None, typer.Option(help="What a false alarm costs, in the same unit.")] = None,
    defect_share: Annotated[
        float | None, typer.Option(help="Share of defects on the line, for the cost; by default that of the pictures.")
    ] = None,
    review_rate: Annotated[
        float,
        typer.Option(help="Share of good frames that may be put up for review or called, with every rule but `card`."),
    ] = 0.1,
    false_alarm_rate: Annotated[
        float | None,
        typer.Option(
            help="Share of good frames that may be called, with `quantile` and `extremes`; 0.5 % if not given."
        ),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write the bundle, with this threshold and these metrics on its card, here.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(metavar="X,Y,W,H", help="The camera's region: look at this part of each picture only.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="The camera's mask, a PNG; what is black there is ignored.")] = None,
    backend: Annotated[Runtime, typer.Option(help="What computes the scores.")] = Runtime.OPENVINO,
    precision: Annotated[
        ComputeIn, typer.Option(help="How it computes: bf16 with openvino, fp16 with tensorrt.")
    ] = ComputeIn.FP32,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads to score with.")] = 1,
    log: Annotated[
        bool, typer.Option(help="Add metrics, plots and report to a registered detector's MLflow run.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Measure a detector on labelled pictures: accuracy, speed, worst mistakes, and a better threshold if there is one.

    Example: `sightline evaluate bottle_cap parts/bottle_cap --report out --threshold-by cost --miss-cost 50
    --false-alarm-cost 1`
    """
    from dataclasses import replace

    from sightline.settings import RegistrySettings

    costs = _costs(threshold_by, miss_cost, false_alarm_cost, defect_share)
    if false_alarm_rate is not None and threshold_by not in GOOD_ONLY:
        raise typer.BadParameter("--false-alarm-rate goes with --threshold-by quantile or extremes")
    settings = RegistrySettings.load()
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sightline-judging-")))
        bundle, registered = _bundle(target, temporary, settings)
        named = f"{registered.product}@{registered.version}" if registered else target
        judged = _judge(bundle, data, backend, precision, threads, region, mask)
        if threshold_by is not ThresholdBy.CARD:
            judged = judged.under(_chosen(judged, threshold_by, costs, review_rate, false_alarm_rate))
        options = {
            "--threshold-by": threshold_by.value,
            "--miss-cost": miss_cost,
            "--false-alarm-cost": false_alarm_cost,
            "--defect-share": defect_share,
            "--review-rate": review_rate if threshold_by is not ThresholdBy.CARD else None,
            "--false-alarm-rate": false_alarm_rate,
            "--region": region,
            "--mask": mask,
            "--backend": backend.value,
            "--precision": precision.value,
            "--threads": threads,
            "--report": report,
        }
        given = [str(part) for pair in options.items() if pair[1] is not None for part in pair]
        judged = replace(judged, command=shlex.join(["sightline", "evaluate", named, str(data), *given]))
        if save:
            _save(judged, save)
        logging = registered is not None and log
        place = None
        if report or logging:
            from models.judging import judge, tracking

            folder = report or temporary / "report"
            judge.write(judged, folder)
            if logging:
                place = tracking.log(judged, folder, settings)
    if as_json:
        typer.echo(json.dumps(judged.summary()))
        return
    _show(judged)
    if report:
        typer.echo(f"report: {report / 'report.html'}")
    if place:
        typer.echo(f"logged to MLflow run {judged.card.run_id} at {place}")
    if save:
        typer.echo(f"bundle with these thresholds: {save}")


def _costs(
    threshold_by: ThresholdBy, miss: float | None, false_alarm: float | None, defect_share: float | None
) -> Costs | None:
    if threshold_by is not ThresholdBy.COST:
        if any(value is not None for value in (miss, false_alarm, defect_share)):
            raise typer.BadParameter("--miss-cost, --false-alarm-cost and --defect-share go with --threshold-by cost")
        return None
    if miss is None or false_alarm is None:
        raise typer.BadParameter("--threshold-by cost needs --miss-cost and --false-alarm-cost, as 50 and 1")
    from models.judging.thresholds import Costs

    return Costs(miss=miss, false_alarm=false_alarm, defect_share=defect_share)


def _bundle(target: str, temporary: Path, settings: RegistrySettings) -> tuple[Path, RegisteredDetector | None]:
    """The bundle's folder, and its place in the registry if it was fetched from there; a folder goes first."""
    folder = Path(target)
    if folder.is_dir() or len(folder.parts) > 1:
        return folder, None
    from models import registry
    from models.judging import tracking

    detector = tracking.find(target, settings)
    return registry.fetch(detector, temporary / "bundle", settings), detector


def _judge(
    bundle: Path,
    data: Path,
    backend: Runtime,
    precision: ComputeIn,
    threads: int,
    region: str | None,
    mask: Path | None,
) -> Judgement:
    from models.progress import bars

    with bars() as show:
        show("loading", 0, 1)
        from models.judging.judge import judge
        from models.runtime.view import view_of

        show("loading", 1, 1)
        view = view_of(region, mask)
        return judge(
            bundle,
            data,
            backend=backend.value,
            precision=precision.value,
            threads=threads,
            view=view,
            progress=show,
        )


def _chosen(
    judged: Judgement, rule: ThresholdBy, costs: Costs | None, review_rate: float, false_alarm_rate: float | None
) -> Thresholds:
    from models.calibrate import Rates
    from models.judging.thresholds import by_cost, by_extremes, by_f1, by_quantile

    scores = judged.scores.scores
    if rule in GOOD_ONLY:
        given = {} if false_alarm_rate is None else {"false_alarm": false_alarm_rate}
        rates = Rates(review=review_rate, **given)
        return (by_quantile if rule is ThresholdBy.QUANTILE else by_extremes)(scores[~judged.defect], rates)
    if costs is None:
        return by_f1(scores, judged.defect, review_rate)
    return by_cost(scores, judged.defect, costs, review_rate)


def _save(judged: Judgement, folder: Path) -> None:
    from models.runtime.self_test import load_self_test, save_self_test, under

    card = judged.new_card
    examples = under(load_self_test(judged.bundle, judged.card), card)
    if folder.resolve() != judged.bundle.resolve():
        shutil.copytree(judged.bundle, folder, dirs_exist_ok=True)
    save_self_test(examples, card, folder)


def _show(judged: Judgement) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    cut = judged.thresholds
    table = Table("", "value", title=f"{escape(judged.card.name)} on {len(judged.samples)} labelled frames")
    for name, value in judged.metrics.items():
        table.add_row(name.replace("_", " "), f"{value:.3f}" if isinstance(value, float) else str(value))
    table.add_section()
    table.add_row("threshold", f"{cut.threshold:.4g}, review from {cut.review_threshold:.4g}")
    table.add_row("chosen by", cut.method)
    rate = "not known" if cut.false_alarm_rate is None else f"{cut.false_alarm_rate:.2%}"
    table.add_row("false alarms to expect", rate)
    table.add_section()
    for speed in judged.speeds:
        table.add_row(
            f"{speed.batch} at once", f"{speed.ms_per_frame:.1f} ms a frame, {speed.frames_per_second:.0f} frames/s"
        )
    table.add_row("size", f"{sum(judged.sizes.values()) / 1e6:.1f} MB")
    kinds = Table("kind", "frames", "called", "review", "passed")
    for kind, count in judged.kinds.items():
        kinds.add_row(escape(kind), str(count.frames), str(count.found), str(count.review), str(count.missed))
    console = Console()
    console.print(table)
    console.print(kinds)
    console.print(f"rests on {escape(cut.rests_on)}")
