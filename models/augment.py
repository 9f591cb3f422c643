"""Mild variants of good frames: what a part would look like a little elsewhere, in a little more or less light."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_ROTATION = 4.0
"""Degrees, either way."""
_ZOOM = 0.05
_SHIFT = 0.03
"""Share of the picture's side, either way."""
_LIGHT = 0.08


def variants(images: NDArray[np.uint8], copies: int, seed: int) -> NDArray[np.uint8]:
    """`copies` variants of each of `images`, uint8 [N, H, W, 3] to [N, copies, H, W, 3]; the same for the same seed.

    Borders are mirrored. Nothing is flipped: a part that lies the wrong way round can be a defect.
    """
    rng = np.random.default_rng(seed)
    count, height, width, _ = images.shape
    varied = np.empty((count, copies, height, width, 3), np.uint8)
    for image, row in zip(images, varied, strict=True):
        for target in row:
            centre, angle = (width / 2, height / 2), rng.uniform(-_ROTATION, _ROTATION)
            turn = cv2.getRotationMatrix2D(centre, angle, 1 + rng.uniform(-_ZOOM, _ZOOM))
            turn[:, 2] += rng.uniform(-_SHIFT, _SHIFT, 2) * (width, height)
            moved = cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT_101)
            target[:] = np.clip(moved * (1 + rng.uniform(-_LIGHT, _LIGHT)), 0, 255)
    return varied
