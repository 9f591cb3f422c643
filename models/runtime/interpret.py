"""From scores and anomaly maps to what people are shown: verdict, boxes, heat map, thumbnail."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.runtime.card import DetectorCard
from models.runtime.view import Box
from sightline.contracts import HeatMap, Region, Verdict

MAX_REGIONS = 16
"""Boxes reported for one frame, the strongest first; bounds an inspection's size."""

MAX_GROWTH = 2
"""Rows and columns of a map over the whole frame, in those of the detector's own; bounds an inspection's size."""

_OPACITY = 0.65
_JPEG_QUALITY = 85


def verdict(score: float, card: DetectorCard) -> Verdict:
    """What `score` means under the card's two thresholds."""
    if score >= card.threshold:
        return Verdict.DEFECT
    return Verdict.REVIEW if score >= card.review_threshold else Verdict.OK


def regions(anomaly_map: NDArray[np.float32], card: DetectorCard, covered: Box) -> tuple[Region, ...]:
    """Boxes around the connected areas of `anomaly_map` [rows, cols] at or above the review threshold.

    The map lies over `covered`, a part of the frame; boxes are in pixels of the frame, strongest first, at most
    MAX_REGIONS.
    """
    rows, cols = anomaly_map.shape
    mask = (anomaly_map >= card.review_threshold).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    found = []
    for label in range(1, count):
        left, top, wide, high = (int(value) for value in stats[label, :4])
        x0, y0 = covered.x + left * covered.width // cols, covered.y + top * covered.height // rows
        x1 = covered.x - (-(left + wide) * covered.width // cols)
        y1 = covered.y - (-(top + high) * covered.height // rows)
        peak = float(anomaly_map[labels == label].max())
        found.append(Region(x=x0, y=y0, width=x1 - x0, height=y1 - y0, peak=peak))
    return tuple(sorted(found, key=lambda region: -region.peak)[:MAX_REGIONS])


def in_frame(anomaly_map: NDArray[np.float32], covered: Box, width: int, height: int) -> NDArray[np.float32]:
    """`anomaly_map` [rows, cols] over `covered` as a map over the whole frame of `width` × `height`, 0 elsewhere.

    Cells stay about as fine, until the map has MAX_GROWTH times as many rows or columns; a cell then has the highest
    value of those that it touches, so that no peak is lost.
    """
    if covered == (0, 0, width, height):
        return anomaly_map
    down = _touched(anomaly_map.shape[0], covered.y, covered.height, height)
    across = _touched(anomaly_map.shape[1], covered.x, covered.width, width)
    found = np.zeros((len(down), len(across)), np.float32)
    strips = [anomaly_map[part].max(axis=0) if part.start < part.stop else None for part in down]
    for row, strip in zip(found, strips, strict=True):
        if strip is not None:
            row[:] = [strip[part].max() if part.start < part.stop else 0 for part in across]
    return found


def _touched(count: int, start: int, length: int, whole: int) -> list[slice]:
    """Of each cell on an axis of `whole` pixels: which of `count` cells over `length` pixels from `start` it meets."""
    cells = min(-(-count * whole // length), MAX_GROWTH * count)
    first = [(cell * whole - start * cells) * count // (cells * length) for cell in range(cells)]
    last = [-(-((cell + 1) * whole - start * cells) * count // (cells * length)) for cell in range(cells)]
    return [slice(max(0, low), min(count, high)) for low, high in zip(first, last, strict=True)]


def heat_map(anomaly_map: NDArray[np.float32], card: DetectorCard) -> HeatMap:
    """`anomaly_map` [rows, cols] in 256 steps of the card's scale."""
    rows, cols = anomaly_map.shape
    return HeatMap(rows=rows, cols=cols, scale=card.map_scale, values=_quantised(anomaly_map, card).tobytes())


def overlay_thumbnail(
    image_rgb: NDArray[np.uint8],
    anomaly_map: NDArray[np.float32],
    card: DetectorCard,
    width: int = 192,
    height: int | None = None,
) -> bytes:
    """A small JPEG of `image_rgb` [h, w, 3] with the heat map over it, transparent where nothing is wrong.

    Without `height` the aspect of `image_rgb` is kept; give it when that picture was squeezed for the detector.
    """
    height = height or max(1, round(width * image_rgb.shape[0] / image_rgb.shape[1]))
    picture = cv2.resize(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), (width, height), interpolation=cv2.INTER_AREA)
    heat = cv2.resize(_quantised(anomaly_map, card), (width, height), interpolation=cv2.INTER_CUBIC)
    colors = cv2.applyColorMap(heat, cv2.COLORMAP_INFERNO)
    # nothing is drawn below half the review threshold, so that a good part looks as the camera saw it
    floor = 255 * min(0.5 * card.review_threshold / card.map_scale, 0.9)
    alpha = _OPACITY * np.clip((heat.astype(np.float32) - floor) / (255 - floor), 0, 1)[..., None]
    blended = (picture * (1 - alpha) + colors * alpha).astype(np.uint8)
    _, jpeg = cv2.imencode(".jpg", blended, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return bytes(jpeg.tobytes())


def _quantised(anomaly_map: NDArray[np.float32], card: DetectorCard) -> NDArray[np.uint8]:
    steps: NDArray[np.uint8] = np.rint(np.clip(anomaly_map / card.map_scale, 0, 1) * 255).astype(np.uint8)
    return steps
