"""From a bundle and labelled frames to a judgement, and from a judgement to files."""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.dataset import load_images
from models.judging import plots
from models.judging.judgement import Judgement, Speed
from models.judging.metrics import by_kind, evaluate
from models.judging.report import render
from models.judging.thresholds import from_card
from models.progress import Progress, quiet
from models.runtime.card import GRAPH_FILE, REFERENCE_FILE, bundle_digest
from models.runtime.scorer import MAX_BATCH, Backend, Precision, Scorer, load_scorer
from models.runtime.view import View
from models.scoring import score_pictures
from models.trainingset import load_labelled

REPORT_FILE = "report.html"
METRICS_FILE = "metrics.json"

_SPEED_BATCHES = (1, MAX_BATCH)
_SPEED_CALLS = 30
_SPEED_SECONDS = 5.0
_WARM_UP_CALLS = 3


def judge(
    bundle: Path,
    data: Path,
    *,
    backend: Backend = "openvino",
    precision: Precision = "fp32",
    threads: int = 1,
    view: View | None = None,
    progress: Progress | None = None,
) -> Judgement:
    """Score the labelled pictures of `data` (`test/KIND`) with the detector in `bundle`, and measure it.

    `view` is the camera's region and mask. The thresholds are the card's; `Judgement.under` cuts the same scores
    elsewhere. Raises SourceError when there are no labelled pictures or one cannot be read, DetectorError when the
    bundle cannot be used, PrerequisiteError when this machine lacks what `backend` or `precision` needs.
    """
    progress = progress or quiet
    scorer = load_scorer(bundle, backend, threads, precision)
    card = scorer.card
    samples = load_labelled(data)
    scores = score_pictures(scorer, [sample.path for sample in samples], "scoring", progress, view)
    thresholds = from_card(card)
    progress("metrics", 0, 1)
    metrics = evaluate(samples, scores, thresholds.threshold, view)
    kinds = by_kind(samples, scores.scores, thresholds.threshold, thresholds.review_threshold)
    progress("metrics", 1, 1)
    first = [sample.path for sample in samples[:MAX_BATCH]]
    images = load_images(first, card.input_height, card.input_width, view)
    return Judgement(
        bundle=bundle,
        data=data,
        view=view,
        card=card,
        digest=bundle_digest(bundle),
        samples=samples,
        scores=scores,
        thresholds=thresholds,
        metrics=metrics,
        kinds=kinds,
        speeds=_speeds(scorer, images, progress),
        sizes={
            name: (bundle / name).stat().st_size for name in (GRAPH_FILE, REFERENCE_FILE) if (bundle / name).exists()
        },
        backend=backend,
        precision=precision,
        threads=threads,
        machine=f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        judged_at=datetime.now(UTC),
        command=shlex.join(["sightline", "evaluate", str(bundle), str(data)]),
    )


def write(judgement: Judgement, folder: Path) -> Path:
    """Write `report.html`, `metrics.json` and one PNG for each plot into `folder`; the report's path.

    Raises SourceError when a picture that is shown can no longer be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = plots.draw(judgement)
    for name, png in pictures.items():
        (folder / f"{name}.png").write_bytes(png)
    (folder / METRICS_FILE).write_text(json.dumps(judgement.summary(), indent=2) + "\n", encoding="utf-8")
    path = folder / REPORT_FILE
    path.write_text(render(judgement, pictures), encoding="utf-8", errors="backslashreplace")
    return path


def _speeds(scorer: Scorer, images: NDArray[np.uint8], progress: Progress) -> tuple[Speed, ...]:
    """Median time of a call for each batch size, on real pictures, within a few seconds."""
    found = []
    for done, batch in enumerate(_SPEED_BATCHES):
        progress("timing", done, len(_SPEED_BATCHES))
        frames = np.ascontiguousarray(np.resize(images, (batch, *images.shape[1:])))
        for _ in range(_WARM_UP_CALLS):
            scorer.score(frames)
        seconds: list[float] = []
        while len(seconds) < _SPEED_CALLS and sum(seconds) < _SPEED_SECONDS:
            start = time.perf_counter()
            scorer.score(frames)
            seconds.append(time.perf_counter() - start)
        each = statistics.median(seconds) / batch
        found.append(Speed(batch, each * 1000, 1 / each, len(seconds)))
    progress("timing", len(_SPEED_BATCHES), len(_SPEED_BATCHES))
    return tuple(found)
