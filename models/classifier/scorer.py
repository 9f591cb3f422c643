"""Classifying pictures with a bundle, the same way on every runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.classifier.card import GRAPH_FILE, REFERENCE_FILE, UNKNOWN, ClassifierCard, load_card
from models.runtime.graph import Images, Run
from models.runtime.scorer import MAX_BATCH, Backend
from sightline.errors import DetectorError


class ClassifierScorer:
    """A bundle's card and one runtime's call: checks what goes in and what comes out, in bounded batches."""

    def __init__(self, card: ClassifierCard, run: Run, max_batch: int = MAX_BATCH) -> None:
        self.card = card
        self._run = run
        self._max_batch = max_batch

    def probabilities(self, images: Images) -> NDArray[np.float32]:
        """float32 [N, C] in the order of the card's classes, for uint8 [N, H, W, 3] RGB at the card's size.

        Raises DetectorError for another shape or dtype, a runtime that fails, or what are no probabilities.
        """
        card = self.card
        size = (card.input_height, card.input_width, 3)
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != size:
            shape, dtype = getattr(images, "shape", None), getattr(images, "dtype", type(images).__name__)
            raise DetectorError(
                f"classifier {card.name} takes uint8 images of shape (N, {size[0]}, {size[1]}, 3), not {dtype} of "
                f"{shape}; decode pictures at the card's input size"
            )
        found = np.empty((len(images), len(card.classes)), np.float32)
        for start in range(0, len(images), self._max_batch):
            part = slice(start, start + self._max_batch)
            try:
                (found[part],) = self._run(np.ascontiguousarray(images[part]))
            except (RuntimeError, ValueError) as error:
                raise DetectorError(f"classifier {card.name} failed on {len(images[part])} images: {error}") from error
        if not np.allclose(found.sum(1), 1, atol=1e-3):
            raise DetectorError(
                f"classifier {card.name} gave what are no probabilities: its weights are damaged; fetch it again"
            )
        return found

    def classify(self, images: Images) -> tuple[list[str], NDArray[np.float32]]:
        """The label of each of `images`, `unknown` below the card's confidence, and what `probabilities` gives."""
        found = self.probabilities(images)
        return labels(found, self.card), found


def labels(probabilities: NDArray[np.float32], card: ClassifierCard) -> list[str]:
    """The most likely class of each row, `unknown` where its probability is below the card's confidence."""
    return [
        card.classes[int(row.argmax())] if float(row.max()) >= card.min_confidence else UNKNOWN for row in probabilities
    ]


def classify(bundle: Path, images: Images, backend: Backend = "openvino") -> tuple[list[str], NDArray[np.float32]]:
    """Labels and probabilities of `images`; see `ClassifierScorer`, which is kept where this is done often."""
    return load_classifier(bundle, backend).classify(images)


def load_classifier(folder: Path, backend: Backend = "openvino", threads: int = 1) -> ClassifierScorer:
    """A scorer for the bundle in `folder`, proved by one blank image.

    Raises DetectorError when a file is missing, card and graph disagree, or the self-check fails.
    """
    card = load_card(folder)
    path = folder / (REFERENCE_FILE if backend == "torch" else GRAPH_FILE)
    if not path.is_file():
        raise DetectorError(f"{path} is missing: the bundle is incomplete; fetch it again")
    scorer = ClassifierScorer(card, _open(path, card, backend, threads))
    scorer.probabilities(np.zeros((1, card.input_height, card.input_width, 3), np.uint8))
    return scorer


def _open(path: Path, card: ClassifierCard, backend: Backend, threads: int) -> Run:
    """Import the chosen runtime, and only that one."""
    match backend:
        case "openvino":
            from models.runtime import openvino_graph

            return openvino_graph.open_graph(path, card.contract, threads)
        case "onnxruntime":
            from models.runtime import onnxruntime_graph

            return onnxruntime_graph.open_graph(path, card.contract, threads)
        case "torch":
            return _open_reference(path, card, threads)
        case _:
            raise DetectorError(f"backend is {backend!r}, expected openvino, onnxruntime or torch")


def _open_reference(path: Path, card: ClassifierCard, threads: int) -> Run:
    import torch

    from models.classifier.network import load

    torch.set_num_threads(threads)
    module = load(path, card)

    def run(images: Images) -> list[NDArray[np.float32]]:
        with torch.inference_mode():
            return [module(torch.from_numpy(images)).numpy()]

    return run
