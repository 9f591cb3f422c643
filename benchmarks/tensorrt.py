"""What TensorRT gives on this machine's GPU: `python -m benchmarks.tensorrt [BUNDLE] [--int8 BUNDLE] [--json]`.

From the repository root on a machine with an NVIDIA GPU, its driver and `pip install -e .[all,gpu]`. Without BUNDLE a
detector is trained on the simulated line first, and quantised, so that nothing else is needed. Prints the parity of
each precision with PyTorch, as a share of the threshold, and frames a second by batch size beside ONNX Runtime and
PyTorch on the CPU; then the same of decoding JPEGs of 720p, by nvJPEG and by one core. What cannot be had says why.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.pictures import SIZES, simulated
from models.quantise import quantise
from models.runtime.card import load_card
from models.runtime.decode import Decode, DecodedFrame, Wanted, decode_each
from models.runtime.nvjpeg import BatchDecoder
from models.runtime.scorer import MAX_BATCH, Backend, Precision, Scorer, load_scorer
from models.train import train
from producers.simulator import PRODUCTS, LineSimulator
from sightline.errors import FrameError, SightlineError
from sightline.settings import RegistrySettings

BATCHES = (1, 4, 16)
ROUNDS = 5
PARTS = 120


@dataclass(frozen=True, slots=True)
class Row:
    """One runtime or decoder: load in seconds (a build the first time), difference to the first of its kind, and frames
    a second by batch size."""

    what: str
    load_seconds: float | None
    difference: float | None
    frames_per_second: dict[int, float]
    fault: str | None = None


def measure(what: str, load: Callable[[], Scorer], expected: np.ndarray, images: np.ndarray, seconds: float) -> Row:
    """`expected` are PyTorch's scores of `images`; a runtime that cannot be had is a row that says why."""
    began = time.perf_counter()
    try:
        scorer = load()
    except SightlineError as error:
        return Row(what, None, None, {}, str(error))
    loaded = time.perf_counter() - began
    difference = float(np.abs(scorer.score(images).scores - expected).max()) / scorer.card.threshold
    rates = {}
    for batch in BATCHES:
        frames = np.ascontiguousarray(np.resize(images, (batch, *images.shape[1:])))
        rates[batch] = _rate(partial(scorer.score, frames), batch, seconds)
    return Row(what, loaded, difference, rates)


def decoders(seconds: float) -> Iterator[Row]:
    """Pictures of 720p from bytes to 256 × 256; the difference is the mean of all pixels, as a share of white."""
    jpegs = simulated(next(iter(PRODUCTS)), *SIZES["720p"], count=MAX_BATCH).jpegs
    wanted = [Wanted(jpeg, 256, 256) for jpeg in jpegs]
    expected = _images(decode_each(wanted))
    opened: list[tuple[str, Callable[[], Decode]]] = [
        ("libjpeg-turbo, one core", lambda: decode_each),
        ("nvJPEG", BatchDecoder),
    ]
    for what, load in opened:
        began = time.perf_counter()
        try:
            decode = load()
        except SightlineError as error:
            yield Row(what, None, None, {}, str(error))
            continue
        loaded = time.perf_counter() - began
        difference = float(np.abs(_images(decode(wanted)) - expected).mean()) / 255
        rates = {batch: _rate(partial(_run, decode, wanted[:batch]), batch, seconds) for batch in BATCHES}
        yield Row(what, loaded, difference, rates)


def _run(decode: Decode, wanted: Sequence[Wanted]) -> None:
    for _ in decode(wanted):
        pass


def _images(decoded: Iterable[DecodedFrame | FrameError]) -> np.ndarray:
    return np.stack([one.image.astype(np.int16) for one in decoded if isinstance(one, DecodedFrame)])


def _rate(work: Callable[[], object], frames: int, seconds: float) -> float:
    """Frames a second: the median of some rounds."""
    rates = []
    for _ in range(ROUNDS):
        done, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            work()
            done += frames
        rates.append(done / passed)
    return statistics.median(rates)


@contextmanager
def detectors(bundle: Path | None, int8: Path | None) -> Iterator[tuple[Path, Path | None]]:
    """The bundles that were named, or fresh ones of a simulated product; no INT8 form where it was refused."""
    if bundle:
        yield bundle, int8
        return
    with tempfile.TemporaryDirectory() as temporary:
        root, made, small = (Path(temporary) / name for name in ("parts", "float", "int8"))
        product = next(iter(PRODUCTS))
        line = LineSimulator(product, 1, 640, 480)
        (root / "train" / "good").mkdir(parents=True)
        for index in range(PARTS):
            picture = cv2.cvtColor(line.render_as(index * 7, "good").image, cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(root / "train" / "good" / f"{index:04}.jpg"), picture)
        train(root, product, RegistrySettings.load(), register=False, output=made)
        try:
            quantise(made, root, small, RegistrySettings.load(), symmetric=True)
        except SightlineError as error:
            print(f"no INT8 form: {error}", file=sys.stderr)
            yield made, None
            return
        yield made, small


def rows(bundle: Path, int8: Path | None, seconds: float) -> list[Row]:
    card = load_card(bundle)
    size = (MAX_BATCH, card.input_height, card.input_width, 3)
    small = np.random.default_rng(0).integers(0, 256, (MAX_BATCH, 16, 16, 3), dtype=np.uint8)
    images = np.stack([cv2.resize(one, size[2:0:-1], interpolation=cv2.INTER_CUBIC) for one in small])
    expected = load_scorer(bundle, "torch", threads=2).score(images).scores
    runs: list[tuple[str, Path | None, Backend, Precision]] = [
        ("PyTorch, CPU", bundle, "torch", "fp32"),
        ("ONNX Runtime, CPU", bundle, "onnxruntime", "fp32"),
        ("TensorRT fp32", bundle, "tensorrt", "fp32"),
        ("TensorRT fp16", bundle, "tensorrt", "fp16"),
        ("TensorRT int8", int8, "tensorrt", "fp32"),
    ]
    found = []
    for what, folder, backend, precision in runs:
        if folder is None:
            found.append(Row(what, None, None, {}, "there is no quantised detector"))
            continue

        def load(folder: Path = folder, backend: Backend = backend, precision: Precision = precision) -> Scorer:
            return load_scorer(folder, backend, 2, precision)

        found.append(measure(what, load, expected, images, seconds))
        print(f"{what}: done", file=sys.stderr)
    return found


def show(found: Sequence[Row]) -> None:
    table = Table("runtime or decoder", "load s", "differs by", *(f"{batch} at once" for batch in BATCHES))
    for row in found:
        if row.fault or row.load_seconds is None or row.difference is None:
            table.add_row(row.what, "–", (row.fault or "")[:60])
            continue
        speeds = (f"{row.frames_per_second[batch]:.0f}" for batch in BATCHES)
        table.add_row(row.what, f"{row.load_seconds:.1f}", f"{row.difference:.2%}", *speeds)
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path, help="folder of a detector bundle")
    parser.add_argument("--int8", type=Path, help="its quantised form, made by `sightline quantise --output`")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one round")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    asked = parser.parse_args()
    with detectors(asked.bundle, asked.int8) as (bundle, int8):
        found = [*rows(bundle, int8, asked.seconds), *decoders(asked.seconds)]
    if asked.json:
        print(json.dumps([asdict(row) for row in found], indent=2))
    else:
        show(found)


if __name__ == "__main__":
    main()
