"""Every method on every labelled folder: `python -m benchmarks.detectors FOLDER… [--method NAME] [--json]`.

Each detector is trained by its default recipe, without a look at the test pictures, in a process of its own, and judged
on OpenVINO with the threads of this machine. Memory is the peak resident set of that process, features and all.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from models.fitting import Recipe
from models.judging.judge import judge
from models.methods import METHODS
from models.train import train
from sightline.settings import RegistrySettings

THREADS = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one folder; `metrics` as `models.judging.metrics` names them."""

    data: str
    method: str
    prepared: str
    metrics: dict[str, float]
    frames_per_second: float
    graph_mb: float
    fit_seconds: float
    peak_mb: float


def measure(folder: Path, method: str) -> Row:
    """Train, judge and weigh in a process that ends afterwards."""
    with ProcessPoolExecutor(1, get_context("spawn")) as one:
        return one.submit(_work, folder, method).result()


def _work(folder: Path, method: str) -> Row:
    with tempfile.TemporaryDirectory() as temporary:
        bundle, registry = Path(temporary) / "bundle", RegistrySettings.load()
        began = time.perf_counter()
        trained = train(
            folder, "benchmark", registry, recipe=Recipe(method=method), threads=THREADS, register=False, output=bundle
        )
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        judged = judge(bundle, folder, threads=THREADS)
        return Row(
            folder.name,
            method,
            "aligned, " * bool(trained.card.alignment) + str(trained.card.parameters["variation"]),
            {**trained.card.metrics, **judged.metrics},
            max(speed.frames_per_second for speed in judged.speeds),
            (bundle / "detector.onnx").stat().st_size / 1e6,
            seconds,
            peak,
        )


def show(rows: Sequence[Row]) -> None:
    """A table of what people compare, in Markdown."""
    shown = ("synthetic_auroc", "image_auroc", "image_pr_auc", "f1_max", "f1", "pixel_auroc", "aupro_30", "aupro_05")
    heads = (name.replace("_", " ") for name in shown)
    table = Table("data", "method", "learnt as", *heads, "frames/s", "MB", "fit s", "peak MB", box=MARKDOWN)
    for row in rows:
        metrics = (f"{row.metrics[name]:.3f}" if name in row.metrics else "–" for name in shown)
        table.add_row(
            row.data,
            row.method,
            row.prepared,
            *metrics,
            f"{row.frames_per_second:.0f}",
            f"{row.graph_mb:.1f}",
            f"{row.fit_seconds:.0f}",
            f"{row.peak_mb:.0f}",
        )
    console = Console()
    console.print(table, width=max(console.width, 190))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="labelled folders in MVTec AD's layout")
    parser.add_argument("--method", action="append", choices=sorted(METHODS), help="only this method; repeat")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    rows = []
    for folder, method in itertools.product(arguments.folders, arguments.method or METHODS):
        rows.append(measure(folder, method))
        # a table takes an hour: what is known of it is not lost with it
        print(json.dumps(asdict(rows[-1])), file=sys.stderr, flush=True)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        show(rows)


if __name__ == "__main__":
    main()
