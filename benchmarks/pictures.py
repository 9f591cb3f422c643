"""The frames that the benchmark sends: real JPEGs, made or read before anything is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2

from producers.jpeg import encode
from sightline.errors import SourceError

QUALITY = 90
SIZES = {"720p": (1280, 720), "256px": (256, 256)}
_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}


@dataclass(frozen=True, slots=True)
class Pictures:
    """`jpegs` all of `width` × `height` pixels; `labels` beside them."""

    jpegs: tuple[bytes, ...]
    labels: tuple[str, ...]
    width: int
    height: int

    @property
    def mean_kb(self) -> float:
        return sum(map(len, self.jpegs)) / len(self.jpegs) / 1e3


def simulated(product: str, width: int, height: int, count: int = 120, seed: int = 7) -> Pictures:
    """Frames of the simulated line in their order, runs of defects included; of parts that no detector learns from."""
    from producers.line import STRETCH
    from producers.simulator import LineSimulator

    line = LineSimulator(product, seed=seed, width=width, height=height, mean_run=4)
    frames = [line.render(STRETCH + index) for index in range(count)]
    return Pictures(tuple(encode(f.image, QUALITY) for f in frames), tuple(f.label for f in frames), width, height)


def from_folder(folder: Path, width: int, height: int, count: int = 120) -> Pictures:
    """Pictures of a folder, scaled to one size as a camera would give them. Raises SourceError without any."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)[:count]
    images = [cv2.imread(str(path)) for path in files]
    jpegs = [encode(cv2.resize(image, (width, height)), QUALITY) for image in images if image is not None]
    if not jpegs:
        raise SourceError(f"{folder} has no readable pictures ({', '.join(sorted(_SUFFIXES))}); name another folder")
    return Pictures(tuple(jpegs), ("good",) * len(jpegs), width, height)
