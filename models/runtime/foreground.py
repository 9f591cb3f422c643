"""Where the part lies in a picture, by its difference from a plain background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_NOISE = 8
"""A pixel that differs from the background by less, of 255, is taken for it."""
_CLEAR_BORDER = 0.75
"""Share of the border that must look like background before a background is believed in."""
_SHARE = (0.03, 0.92)
"""Share of the picture that a believable part covers."""
_CRUMB = 0.1
"""Smallest area, as a share of the largest piece, that still counts as part."""


def foreground(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where the part lies in `image`, uint8 [H, W, 3]: bool [H, W], all true when no plain background can be told.

    Background is what resembles the border's median colour as closely as the border itself does, or as Otsu's threshold
    says if that is closer; what it encloses belongs to the part, crumbs do not. It is not believed when much of the
    border differs, or when hardly anything or almost everything would be part.
    """
    height, width, _ = image.shape
    strip = max(2, min(height, width) // 32)
    rim = np.ones((height, width), np.bool_)
    rim[strip:-strip, strip:-strip] = False
    colour = np.median(image[rim], axis=0)
    difference = np.abs(image.astype(np.int16) - colour.astype(np.int16)).max(axis=2).astype(np.uint8)
    smooth = cv2.GaussianBlur(difference, (0, 0), max(1.0, strip / 4))
    otsu, _ = cv2.threshold(smooth, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    cut = min(otsu, max(_NOISE, 2.0 * float(np.quantile(smooth[rim], _CLEAR_BORDER))))
    part = (smooth > cut).astype(np.uint8)
    part = cv2.morphologyEx(part, cv2.MORPH_CLOSE, np.ones((2 * strip + 1, 2 * strip + 1), np.uint8))
    outlines, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    areas = [cv2.contourArea(outline) for outline in outlines]
    whole = [outline for outline, area in zip(outlines, areas, strict=True) if area >= _CRUMB * max(areas)]
    found = cv2.drawContours(np.zeros_like(part), whole, -1, 1, cv2.FILLED).astype(np.bool_)
    share = float(found.mean())
    if otsu <= _NOISE or found[rim].mean() > 1 - _CLEAR_BORDER or not _SHARE[0] <= share <= _SHARE[1]:
        return np.ones((height, width), np.bool_)
    return np.asarray(found)
