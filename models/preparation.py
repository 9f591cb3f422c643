"""What happens to pictures before their features are learnt: alignment, and variants of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import augment
from models.dataset import load_images
from models.runtime.alignment import Alignment
from models.runtime.view import View
from models.synthetic import Synthetic, synthesise

OVERSIZE = 2
"""Pictures that are aligned are read this many times as large as what the features see: a part may be small in them."""

MOST_COPIES = 4


class Variation(StrEnum):
    """Which variants of a good frame are good as well."""

    NONE = "none"
    MILD = "mild"
    """A little moved, turned, zoomed and lit."""
    SYMMETRIC = "symmetric"
    """Turned by quarters and mirrored."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """`side` is that of the square pictures that the features see; `copies` variants of each are learnt beside it.

    `view` is the part of each frame that the camera's settings leave.
    """

    side: int
    alignment: Alignment | None = None
    variation: Variation = Variation.NONE
    copies: int = 0
    view: View | None = None

    @property
    def picture_side(self) -> int:
        """Side of the pictures that a scorer is given."""
        return OVERSIZE * self.side if self.alignment else self.side

    def load(self, paths: Sequence[Path]) -> NDArray[np.uint8]:
        """uint8 [N, picture_side, picture_side, 3] RGB; raises SourceError naming a file that cannot be read."""
        return load_images(paths, self.picture_side, self.picture_side, self.view)

    def seen(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What the features see of `pictures`: uint8 [N, side, side, 3]."""
        return self.alignment.cut(pictures, self.alignment.places(pictures)) if self.alignment else pictures

    def varied(self, images: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """`copies` variants of each of `images`, as they are seen: uint8 [N, copies, side, side, 3]."""
        if self.variation is not Variation.SYMMETRIC:
            return augment.variants(images, self.copies, seed)
        turned = augment.symmetries(images)[:, : self.copies]
        return np.concatenate([turned, augment.variants(images, self.copies - turned.shape[1], seed)], axis=1)

    def spoilt(self, pictures: NDArray[np.uint8], copies: int, seed: int) -> Synthetic:
        """`pictures` with synthetic defects, `copies` of each in a row, as they are seen; masks likewise."""
        made = synthesise(np.repeat(pictures, copies, axis=0), seed)
        if self.alignment is None:
            return made
        places = self.alignment.places(made.images)
        masks = self.alignment.cut(made.masks[..., None].astype(np.uint8), places)[..., 0] > 0
        return Synthetic(self.alignment.cut(made.images, places), masks, made.kinds)
