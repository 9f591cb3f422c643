"""What a detector's scores say of one frame: the same for the champion and for the challenger beside it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.runtime.card import DetectorCard
from models.runtime.interpret import overlay_thumbnail, regions, verdict
from models.runtime.scores import Scores
from models.runtime.view import Box, masked
from sightline.contracts import Region, Verdict
from streaming.records import Opened

THUMBNAIL_WIDTH = 192


class Finding(NamedTuple):
    """`anomaly_map` lies over the part of the frame that was looked at; `regions` are in pixels of the frame.

    `thumbnail` shows that part, and only of a defect.
    """

    score: float
    verdict: Verdict
    anomaly_map: NDArray[np.float32]
    regions: tuple[Region, ...]
    thumbnail: bytes | None


def find(opened: Opened, image: NDArray[np.uint8], card: DetectorCard, scores: Scores, row: int) -> Finding:
    """The finding of `row` of a batch's scores, the camera's mask applied; `image` is the picture that was scored."""
    seen = masked(opened.view, Scores(scores.maps[row], scores.scores[row]))
    score, covered = float(seen.scores), opened.decoded.covered
    ruling = verdict(score, card)
    return Finding(
        score=score,
        verdict=ruling,
        anomaly_map=seen.maps,
        regions=() if ruling is Verdict.OK else regions(seen.maps, card, covered),
        thumbnail=_thumbnail(image, seen.maps, card, covered) if ruling is Verdict.DEFECT else None,
    )


def _thumbnail(image: NDArray[np.uint8], anomaly_map: NDArray[np.float32], card: DetectorCard, covered: Box) -> bytes:
    """The picture of an alert, in the aspect of what it shows of the frame."""
    height = max(1, min(2 * THUMBNAIL_WIDTH, round(THUMBNAIL_WIDTH * covered.height / covered.width)))
    return overlay_thumbnail(image, anomaly_map, card, THUMBNAIL_WIDTH, height)
