"""Scoring batches with a detector bundle, the same way on every runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from models.runtime.card import GRAPH_FILE, REFERENCE_FILE, SYMMETRIC, DetectorCard, is_int8, load_card
from models.runtime.graph import Run, detector_contract
from models.runtime.graph_file import check_graph_file
from models.runtime.scores import Scores
from sightline.errors import DetectorError, PrerequisiteError
from sightline.settings import run_folder

Backend = Literal["openvino", "onnxruntime", "torch", "tensorrt"]
CPU_BACKENDS: tuple[Backend, ...] = ("openvino", "onnxruntime", "torch")

Precision = Literal["fp32", "bf16", "fp16"]
"""How floating-point numbers are computed with; INT8 is not among them, because a quantised graph brings it along."""

PRECISIONS: Mapping[Backend, tuple[Precision, ...]] = {
    "openvino": ("fp32", "bf16"),
    "onnxruntime": ("fp32",),
    "torch": ("fp32",),
    "tensorrt": ("fp32", "fp16"),
}

MAX_BATCH = 16
"""Images that go through a graph at once: bounds its memory; larger ones were no faster on CPU."""


class Scorer(Protocol):
    """Judges batches of images."""

    card: DetectorCard

    def score(self, images: NDArray[np.uint8]) -> Scores:
        """Score `images`, uint8 [N, H, W, 3] RGB at the card's input size.

        Raises DetectorError for another shape or dtype, a runtime that fails, or a score that is not finite.
        """


class BundleScorer:
    """A bundle's card and one runtime's call: checks what goes in and what comes out, in bounded batches."""

    def __init__(self, card: DetectorCard, run: Run, max_batch: int = MAX_BATCH) -> None:
        self.card = card
        self._run = run
        self._max_batch = max_batch

    def score(self, images: NDArray[np.uint8]) -> Scores:
        """See `Scorer.score`; results of a frame do not depend on its batch-mates beyond float rounding."""
        self._check(images)
        count, card = len(images), self.card
        maps = np.empty((count, card.map_rows, card.map_cols), np.float32)
        scores = np.empty(count, np.float32)
        for start in range(0, count, self._max_batch):
            part = slice(start, start + self._max_batch)
            try:
                maps[part], scores[part] = self._judge(np.ascontiguousarray(images[part]))
            except (RuntimeError, ValueError) as error:
                raise DetectorError(
                    f"detector {card.name} failed on {len(images[part])} images of {images.shape[1:]}: {error}"
                ) from error
        if not (np.isfinite(scores).all() and np.isfinite(maps).all()):
            raise DetectorError(
                f"detector {card.name} gave scores that are not finite: its weights are damaged; fetch it again"
            )
        return Scores(maps, scores)

    def _judge(self, pictures: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
        alignment = self.card.alignment
        if alignment is None:
            return self._run(pictures)
        places = alignment.places(pictures)
        maps, scores = self._run(alignment.cut(pictures, places))
        return alignment.back(maps, places), scores

    def _check(self, images: NDArray[np.uint8]) -> None:
        size = (self.card.input_height, self.card.input_width, 3)
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != size:
            shape, dtype = getattr(images, "shape", None), getattr(images, "dtype", type(images).__name__)
            raise DetectorError(
                f"detector {self.card.name} takes uint8 images of shape (N, {size[0]}, {size[1]}, 3), "
                f"not {dtype} of {shape}; decode frames with models.runtime.decode at the card's input size"
            )


def load_scorer(
    folder: Path, backend: Backend = "openvino", threads: int = 1, precision: Precision = "fp32", *, callers: int = 1
) -> Scorer:
    """A scorer for the bundle in `folder`, proved by one blank image.

    `threads` is what it may use on a CPU: 1 where several processes share the cores. Where several threads of Python
    are to score at once, `callers` says how many, and each call has its part of `threads`; only `openvino` allows it.
    `torch` is the slow reference. `tensorrt` builds an engine the first time, which takes minutes, and must be loaded
    in the process that scores. Raises DetectorError when a file is missing, card and graph disagree, or the self-check
    fails, and PrerequisiteError when this machine lacks what `backend` or `precision` needs: another one is never taken
    instead.
    """
    if backend not in PRECISIONS:
        raise DetectorError(f"backend is {backend!r}, expected one of {', '.join(PRECISIONS)}")
    if precision not in PRECISIONS[backend]:
        raise DetectorError(
            f"backend {backend} does not compute in {precision}, only in {' or '.join(PRECISIONS[backend])}"
        )
    card = load_card(folder)
    if is_int8(card):
        _check_integers(card, backend)
    needed = REFERENCE_FILE if backend == "torch" else GRAPH_FILE
    if not (folder / needed).is_file():
        raise DetectorError(f"{folder / needed} is missing: the bundle is incomplete; fetch it again")
    if needed == GRAPH_FILE:
        check_graph_file(folder / GRAPH_FILE)
    if threads < 1:
        raise DetectorError(f"threads is {threads}, expected 1 or more")
    if callers != 1 and backend != "openvino":
        raise DetectorError(f"backend {backend} scores for one caller at a time, not {callers}")
    scorer = BundleScorer(card, _open(folder, card, backend, threads, precision, callers))
    scorer.score(np.zeros((1, card.input_height, card.input_width, 3), np.uint8))
    return scorer


def _check_integers(card: DetectorCard, backend: Backend) -> None:
    """Raise DetectorError for a runtime that does not compute in the integers of a quantised detector."""
    if backend == "torch":
        raise DetectorError(
            f"{card.name} is quantised to INT8, which PyTorch does not compute: choose backend openvino or "
            "onnxruntime, or the detector that it was made from"
        )
    if backend == "tensorrt" and not card.parameters.get(SYMMETRIC):
        raise DetectorError(
            f"{card.name} is quantised with zero points, which TensorRT does not take: make it again with "
            "`sightline quantise --symmetric`, or choose backend openvino or onnxruntime"
        )


def _open(folder: Path, card: DetectorCard, backend: Backend, threads: int, precision: Precision, callers: int) -> Run:
    """Import the chosen runtime, and only that one."""
    match backend:
        case "openvino":
            from models.runtime import openvino_graph

            reduced = precision == "bf16"
            return openvino_graph.open_graph(
                folder / GRAPH_FILE, detector_contract(card), threads, bf16=reduced, callers=callers
            )
        case "onnxruntime":
            from models.runtime import onnxruntime_graph

            return onnxruntime_graph.open_graph(folder / GRAPH_FILE, detector_contract(card), threads)
        case "torch":
            try:
                from models.runtime import torch_graph
            except ImportError as error:
                raise PrerequisiteError(
                    f"backend torch needs PyTorch ({error}): install `sightline[train]`, or choose another backend"
                ) from error

            return torch_graph.open_graph(folder / REFERENCE_FILE, card, threads)
        case "tensorrt":
            from models.runtime import tensorrt_graph
            from models.runtime.engine_cache import EngineCache

            engines = EngineCache(run_folder() / "engines")
            half = precision == "fp16"
            return tensorrt_graph.open_graph(
                folder / GRAPH_FILE, detector_contract(card), MAX_BATCH, engines, "fp16" if half else "fp32"
            )
