"""What every graph looks like from outside, whatever runtime runs it.

Input `images`: uint8 [N, H, W, 3], RGB. A detector's outputs are `anomaly_map`: float32 [N, rows, cols] and `score`:
float32 [N]. Scaling, normalisation and layout are inside the graph; N is free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.runtime.card import DetectorCard
from sightline.errors import DetectorError

INPUT = "images"
MAP = "anomaly_map"
SCORE = "score"

Images = NDArray[np.uint8]
Run = Callable[[Images], Sequence[NDArray[np.float32]]]
"""One call of a runtime: images to the outputs, in the order of the graph's contract."""

Ports = Mapping[str, tuple[str, Sequence[int | None]]]
"""Name to (dtype, shape) of a graph's inputs or outputs; None is a free dimension."""


@dataclass(frozen=True, slots=True)
class Contract:
    """The ports that a card promises of its graph; a call gives the outputs in their order here."""

    inputs: Ports
    outputs: Ports

    @classmethod
    def of_images(cls, height: int, width: int, outputs: Ports) -> Contract:
        """A graph that takes `images` of this size."""
        return cls({INPUT: ("uint8", (None, height, width, 3))}, outputs)


def detector_contract(card: DetectorCard) -> Contract:
    """What a detector's graph must look like."""
    outputs: Ports = {MAP: ("float32", (None, card.map_rows, card.map_cols)), SCORE: ("float32", (None,))}
    return Contract.of_images(*card.graph_size, outputs)


def check_ports(path: Path, contract: Contract, inputs: Ports, outputs: Ports) -> None:
    """Raise DetectorError unless the graph's ports are those of the contract, in the sizes on the card."""
    for kind, found, expected in (("input", inputs, contract.inputs), ("output", outputs, contract.outputs)):
        if not _agrees(found, expected):
            raise DetectorError(
                f"{path}: {kind}s are {_text(found)}, the card asks for {_text(expected)}; "
                "graph and card do not belong together, export them again"
            )


def _agrees(found: Ports, expected: Ports) -> bool:
    return found.keys() == expected.keys() and all(
        found[name][0] == dtype
        and len(found[name][1]) == len(shape)
        # a graph may leave a size open that the card fixes; it may not fix another one, nor fix N
        and all(got is None or got == want for got, want in zip(found[name][1], shape, strict=True))
        for name, (dtype, shape) in expected.items()
    )


def _text(ports: Ports) -> str:
    shown = (
        f"{name} {dtype} [{', '.join('N' if size is None else str(size) for size in shape)}]"
        for name, (dtype, shape) in ports.items()
    )
    return ", ".join(shown) or "none"
