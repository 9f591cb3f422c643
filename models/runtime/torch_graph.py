"""Detectors on PyTorch, from their reference weights: slow, and what the other runtimes are measured against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.methods import METHODS
from models.reference import load
from models.runtime.card import DetectorCard
from models.runtime.graph import Images, Run
from sightline.errors import DetectorError


def open_graph(path: Path, card: DetectorCard, threads: int) -> Run:
    """Rebuild the module that the ONNX graph was exported from; sets the threads of the whole process."""
    if card.method not in METHODS:
        raise DetectorError(f"{path}: method {card.method!r} has no PyTorch reference; use backend openvino")
    torch.set_num_threads(threads)
    module = load(path, card)

    def run(images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.inference_mode():
            maps, scores = module(torch.from_numpy(images))
        return maps.numpy(), scores.numpy()

    return run
