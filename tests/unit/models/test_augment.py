from __future__ import annotations

import numpy as np

from models.augment import variants


def test_variants_are_mild_and_the_same_for_the_same_seed() -> None:
    rows, cols = np.mgrid[:64, :64]
    image = np.stack([rows * 3, cols * 3, np.full((64, 64), 99)], axis=2).astype(np.uint8)
    found = variants(image[None], copies=6, seed=1)
    assert found.shape == (1, 6, 64, 64, 3)
    assert np.array_equal(found, variants(image[None], copies=6, seed=1))
    changes = np.abs(found[0].astype(int) - image).mean(axis=(1, 2, 3))
    assert (changes > 0).all()
    assert (changes < 20).all()
    # never flipped: left stays darker than right in the channel that grows to the right
    assert (found[0, :, :, :8, 1].mean(axis=(1, 2)) < found[0, :, :, -8:, 1].mean(axis=(1, 2))).all()
