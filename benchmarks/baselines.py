"""What the line is held against besides the bare runtime: the ways in which such a thing is usually begun.

Each side works on the same JPEGs with the same detector, in turn, round by round.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console

from benchmarks.anomalib_compare import Anomalib
from benchmarks.bare import BareRuntime
from benchmarks.line import data_folder
from benchmarks.measured import Part, Series
from benchmarks.pictures import Pictures
from models.runtime.card import load_card
from models.runtime.decode import decode
from models.runtime.scorer import Scorer, load_scorer


def measure(
    folder: Path, bundle: Path, plain: Path, pictures: Pictures, console: Console, *, rounds: int = 5,
    processes: int = 2, anomalib: Path | None = None,
) -> Part:  # fmt: skip
    """Frames/s of the bare runtime, of a plain PyTorch loop over files, and of a Spark UDF called row by row.

    `plain` is the detector in float, which is what PyTorch computes; the others run `bundle`.
    With the Python of an environment that has `anomalib`, its OpenVINO inferencer is one more side.
    """
    part = Part(f"baselines, {pictures.width} × {pictures.height}")
    with ExitStack() as stack:
        scratch = stack.enter_context(TemporaryDirectory())
        runtime = stack.enter_context(BareRuntime(bundle, pictures, processes))
        files = write_files(Path(scratch) / "frames", pictures)
        # for as long as the bare runtime, so that the start of a job weighs little
        many = write_files(Path(scratch) / "more", pictures, copies=8)
        sides: dict[str, Callable[[], float]] = {
            "bare runtime": lambda: runtime.rate(10),
            "plain Python loop with PyTorch": plain_loop(plain, files, processes),
            "Spark UDF, row by row": stack.enter_context(_rows(folder, bundle, many[0].parent, len(many), processes)),
        }
        if anomalib:
            side = stack.enter_context(closing(Anomalib(anomalib)))
            sides["anomalib's OpenVINO inferencer, file by file"] = _anomalib(
                side, folder, bundle, pictures, files, processes
            )
        found: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(-1, rounds):
            for name, side in sides.items():
                rate = side()
                if number >= 0:
                    found[name].append(rate)
            told = ", ".join(f"{name} {r[-1]:.1f}" for name, r in found.items() if r)
            console.log(f"round {number}: {told}" if told else "warmed up")
    for name, rates in found.items():
        part.add(name, Series(tuple(rates)), "frames/s")
    return part


def write_files(folder: Path, pictures: Pictures, copies: int = 1) -> list[Path]:
    """`pictures` as files in `folder`, which is made, each so many times."""
    folder.mkdir()
    jpegs = pictures.jpegs * copies
    files = [folder / f"{number:04d}.jpg" for number in range(len(jpegs))]
    for file, jpeg in zip(files, jpegs, strict=True):
        file.write_bytes(jpeg)
    return files


def plain_loop(bundle: Path, files: list[Path], threads: int) -> Callable[[], float]:
    """What reads, decodes and scores `files` one by one with PyTorch on `threads` cores; it says how many a second."""
    scorer = load_scorer(bundle, "torch", threads=threads)
    height, width = scorer.card.input_height, scorer.card.input_width

    def run() -> float:
        began = time.perf_counter()
        for file in files:
            scorer.score(decode(file.read_bytes(), height, width).image[np.newaxis])
        return len(files) / (time.perf_counter() - began)

    return run


@contextmanager
def _rows(folder: Path, bundle: Path, pictures: Path, count: int, cores: int) -> Iterator[Callable[[], float]]:
    """A plain `udf` over the bytes of the `count` files in `pictures`, one picture a call."""
    from pyspark.sql import functions
    from pyspark.sql.types import DoubleType

    from infra.spark import SparkSettings, build_session

    settings = SparkSettings.load(master=f"local[{cores}]", folder=folder / "spark")
    spark = build_session("sightline-baselines", settings)

    def judge(jpeg: bytes) -> float:
        return _judge(bundle, jpeg)

    frames = spark.read.format("binaryFile").load(str(pictures))
    scored = frames.select(functions.udf(judge, DoubleType())("content").alias("score"))

    def run() -> float:
        began = time.perf_counter()
        found = scored.agg(functions.count("score"), functions.sum("score")).first()
        assert found is not None and found[0] == count
        return count / (time.perf_counter() - began)

    try:
        yield run
    finally:
        spark.stop()


def _judge(bundle: Path, jpeg: bytes) -> float:
    scorer = _loaded(bundle)
    image = decode(bytes(jpeg), scorer.card.input_height, scorer.card.input_width).image
    return float(scorer.score(image[np.newaxis]).scores[0])


@lru_cache
def _loaded(bundle: Path) -> Scorer:
    """Once a worker; in a closure it would be loaded anew for each task."""
    return load_scorer(bundle, "openvino", threads=1)


def _anomalib(
    side: Anomalib, folder: Path, bundle: Path, pictures: Pictures, files: list[Path], threads: int
) -> Callable[[], float]:
    """Its PaDiM, of the same backbone and levels, learnt from the same good pictures."""
    place = folder / "anomalib"
    shutil.rmtree(place, ignore_errors=True)
    size = load_card(bundle).input_height
    side.ask(
        "fit",
        method="padim",
        data=str(data_folder(folder, pictures)),
        size=size,
        threads=threads,
        folder=str(place),
        coreset=0.1,
    )
    paths = [str(file) for file in files]
    return lambda: float(side.ask("files", paths=paths)["openvino"])
