"""What the simulated line costs and how hard its pictures are: `python -m benchmarks.simulator [--json]`.

Frames a second are of one thread, in processor time, so that other work on the machine hardly counts; with JPEG they
include encoding at quality 90. The last column is the image AUROC of a plain difference from the mean good picture:
0.5 is chance, and below 0.8 the parts vary enough for the task to need a learned detector.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from producers.simulator import DEFECTS, GOOD, PRODUCTS, LineSimulator
from producers.simulator.baseline import mean_difference_auroc

TRAIN, TEST = 100, 80


@dataclass(frozen=True, slots=True)
class Result:
    """One product at one size; rates in frames per second of one core, start in seconds for all its textures."""

    product: str
    width: int
    height: int
    start_s: float
    good_fps: float
    line_fps: float
    line_jpeg_fps: float
    mean_difference_auroc: float


def measure(product: str, width: int, height: int, frames: int) -> Result:
    began = time.process_time()
    line = LineSimulator(product, 1, width, height)
    for index in range(64):
        line.render_as(index, GOOD)
    start = time.process_time() - began - 64 / (good := _rate(lambda index: line.render_as(index, GOOD), frames))
    rendered = _rate(line.render, frames)
    encoded = _rate(
        lambda index: cv2.imencode(".jpg", line.render(index).image, [cv2.IMWRITE_JPEG_QUALITY, 90]), frames
    )
    return Result(
        product, width, height, round(max(start, 0), 2), round(good, 1), round(rendered, 1), round(encoded, 1),
        round(_difficulty(product, width, height), 3),
    )  # fmt: skip


def _rate(work: Callable[[int], object], frames: int) -> float:
    began = time.process_time()
    for index in range(frames):
        work(index)
    return frames / (time.process_time() - began)


def _difficulty(product: str, width: int, height: int) -> float:
    """AUROC of the mean difference, learned on one line and tested on another."""
    learn, test = LineSimulator(product, 2, width, height), LineSimulator(product, 3, width, height)
    kinds = list(DEFECTS)
    train: list[np.ndarray] = [learn.render_as(index * 7, GOOD).image for index in range(TRAIN)]
    good = [test.render_as(index * 7, GOOD).image for index in range(TEST)]
    bad = [test.render_as((TEST + index) * 7, kinds[index % len(kinds)]).image for index in range(TEST)]
    return mean_difference_auroc(train, good, bad)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--product", action="append", choices=list(PRODUCTS), help="only this one; repeat for several")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--frames", type=int, default=600, help="frames of each measurement")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    results = [measure(name, given.width, given.height, given.frames) for name in given.product or PRODUCTS]
    if given.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
        return
    table = Table(title=f"simulated line, {given.width}×{given.height}, one thread")
    for heading in ("product", "start s", "good fps", "line fps", "line+JPEG fps", "mean-diff AUROC"):
        table.add_column(heading, justify="left" if heading == "product" else "right")
    for result in results:
        table.add_row(
            result.product, f"{result.start_s:.2f}", f"{result.good_fps:.0f}", f"{result.line_fps:.0f}",
            f"{result.line_jpeg_fps:.0f}", f"{result.mean_difference_auroc:.3f}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
