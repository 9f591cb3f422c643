from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.augment import DEFAULT_SIZE, Changes, augment_to, variants
from sightline.errors import SourceError

STILL = Changes(rotation=0, scale=0, shift=0, light=0, blur=0, noise=0)


@pytest.fixture(scope="module")
def ramps() -> np.ndarray:
    """Four pictures that grow downwards in red and to the right in green, each with a blue of its own."""
    rows, cols = np.mgrid[:64, :64]
    blues = (30, 90, 150, 210)
    images = [np.stack([rows * 3, cols * 3, np.full((64, 64), blue)], axis=2) for blue in blues]
    return np.array(images, np.uint8)


def test_variants_are_mild_and_the_same_for_the_same_seed(ramps: np.ndarray) -> None:
    image = ramps[1]
    found = variants(image[None], copies=6, seed=1)
    assert found.shape == (1, 6, 64, 64, 3)
    assert np.array_equal(found, variants(image[None], copies=6, seed=1))
    changes = np.abs(found[0].astype(int) - image).mean(axis=(1, 2, 3))
    assert (changes > 0).all()
    assert (changes < 20).all()
    # never flipped: left stays darker than right in the channel that grows to the right
    assert (found[0, :, :, :8, 1].mean(axis=(1, 2)) < found[0, :, :, -8:, 1].mean(axis=(1, 2))).all()


def test_fifteen_hundred_pictures_by_default_with_each_source_used_alike(ramps: np.ndarray) -> None:
    batches = list(augment_to(ramps, changes=STILL))
    assert max(map(len, batches)) == 32
    made = np.concatenate(batches)
    assert len(made) == DEFAULT_SIZE == 1500
    blues, counts = np.unique(made[:, 0, 0, 2], return_counts=True)
    assert blues.tolist() == [30, 90, 150, 210]
    assert counts.tolist() == [375] * 4


def test_the_given_pictures_come_first_and_untouched(ramps: np.ndarray) -> None:
    made = np.concatenate(list(augment_to(ramps, 12, seed=3)))
    assert np.array_equal(made[:4], ramps)
    assert not any(np.array_equal(late, given) for late in made[4:] for given in ramps)


def test_the_batch_size_changes_nothing(ramps: np.ndarray) -> None:
    whole, parts = (np.concatenate(list(augment_to(ramps, 11, seed=3, batch=batch))) for batch in (11, 2))
    assert np.array_equal(whole, parts)
    assert not np.array_equal(whole, np.concatenate(list(augment_to(ramps, 11, seed=4))))


def test_of_more_pictures_than_wanted_different_ones_are_drawn(ramps: np.ndarray) -> None:
    (made,) = augment_to(ramps, 3, seed=1)
    assert len(np.unique(made[:, 0, 0, 2])) == 3


def test_flips_happen_only_where_they_are_asked_for(ramps: np.ndarray) -> None:
    def mirrored(changes: Changes) -> np.ndarray:
        made = np.concatenate(list(augment_to(ramps[:1], 41, changes=changes)))[1:].astype(int)
        return np.stack([made[:, :, 0, 1].mean(1) > made[:, :, -1, 1].mean(1), made[:, 0, :, 0].mean(1) > 90], axis=1)

    assert not mirrored(Changes()).any()
    sideways, upside_down = mirrored(Changes(flip_horizontal=True)).mean(axis=0)
    assert 0.2 < sideways < 0.8
    assert upside_down == 0
    assert (mirrored(Changes(flip_horizontal=True, flip_vertical=True)).mean(axis=0) > 0.2).all()


def test_noise_blur_and_light_are_each_seen() -> None:
    edge = np.zeros((1, 256, 256, 3), np.uint8)
    edge[:, :, 128:] = 200
    base = {"rotation": 0, "scale": 0, "shift": 0, "light": 0, "blur": 0, "noise": 0}

    def made(**more: float) -> np.ndarray:
        return np.concatenate(list(augment_to(edge, 9, changes=Changes(**{**base, **more}))))[1:].astype(int)

    assert made(noise=10)[:, :, 150:].std(axis=(1, 2, 3)).max() > 2
    assert made(light=0.3)[:, :, 150:].mean(axis=(1, 2, 3)).std() > 10
    assert made(blur=3)[:, 0, 126, 0].max() > 20
    assert (made()[:] == edge[0]).all()


def test_paths_are_read_when_their_turn_comes(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths[:2]:
        cv2.imwrite(str(path), np.full((40, 50, 3), 120, np.uint8))
    paths[2].write_bytes(b"no picture")
    batches = augment_to(paths, 6, shape=(48, 64), batch=2)
    assert next(batches).shape == (2, 48, 64, 3)
    with pytest.raises(SourceError, match=r"2\.png"):
        next(batches)


def test_what_cannot_be_varied_is_refused(ramps: np.ndarray) -> None:
    with pytest.raises(SourceError, match="no picture to make variants of"):
        augment_to(ramps[:0])
    with pytest.raises(SourceError, match="0 pictures in batches of 32"):
        augment_to(ramps, 0)
    with pytest.raises(SourceError, match="noise must not be negative"):
        Changes(noise=-1)
    with pytest.raises(SourceError, match=r"light 8\.0 are shares below 1"):
        Changes(light=8.0)
