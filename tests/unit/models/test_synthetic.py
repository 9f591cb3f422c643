from __future__ import annotations

import numpy as np
import pytest

from models.runtime.foreground import foreground
from models.synthetic import ALL, CHANGE, Kind, synthesise
from sightline.errors import SourceError


@pytest.fixture(scope="module")
def parts() -> np.ndarray:
    """Twelve discs of their own colour and light on dark grey, with noise: uint8 [12, 96, 128, 3]."""
    rng = np.random.default_rng(7)
    rows, cols = np.mgrid[:96, :128]
    disc = (rows - 48) ** 2 + (cols - 64) ** 2 < 30**2
    images = np.where(disc[None, :, :, None], rng.uniform(120, 200, (12, 1, 1, 3)), 40.0)
    return np.clip(images + rng.normal(0, 3, images.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ALL)
def test_a_mask_is_where_the_picture_changed_and_nowhere_else(parts: np.ndarray, kind: Kind) -> None:
    changed, masks, kinds = synthesise(parts, 3, [kind])
    difference = np.abs(changed.astype(int) - parts).max(axis=3)
    assert (difference[masks] > CHANGE).all()
    assert (difference[~masks] == 0).all()
    shares = masks.mean(axis=(1, 2))
    assert (shares > 0).all()
    assert (shares < 0.1).all()
    assert set(kinds) == {kind}


def test_defects_lie_on_the_part(parts: np.ndarray) -> None:
    masks = synthesise(parts, 5).masks
    rows, cols = np.mgrid[:96, :128]
    outside = (rows - 48) ** 2 + (cols - 64) ** 2 > 36**2
    assert masks[:, outside].mean() < 0.001


def test_the_same_seed_gives_the_same_defects_and_another_does_not(parts: np.ndarray) -> None:
    first, again, other = (synthesise(parts, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.images, again.images)
    assert np.array_equal(first.masks, again.masks)
    assert first.kinds == again.kinds
    assert not np.array_equal(first.masks, other.masks)


def test_kinds_come_equally_often(parts: np.ndarray) -> None:
    kinds = synthesise(parts[:10], 0).kinds
    assert sorted(kinds) == sorted([*ALL, *ALL])


def test_sizes_and_contrasts_range_from_subtle_to_strong(parts: np.ndarray) -> None:
    many = np.repeat(parts, 20, axis=0)
    changed, masks, _ = synthesise(many, 9)
    shares = masks.mean(axis=(1, 2))
    assert np.quantile(shares, 0.1) < 0.002
    assert np.quantile(shares, 0.9) > 0.01
    difference = np.abs(changed.astype(int) - many).max(axis=3)
    peaks = difference.max(axis=(1, 2))
    assert (peaks < 40).sum() > 10
    assert (peaks > 100).sum() > 10


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("kind", ALL)
def test_even_a_single_picture_without_any_texture_gets_a_defect(level: int, kind: Kind) -> None:
    flat = np.full((1, 64, 64, 3), level, np.uint8)
    assert synthesise(flat, 0, [kind]).masks.any()


def test_a_grey_picture_stays_grey(parts: np.ndarray) -> None:
    grey = np.repeat(parts[..., :1], 3, axis=3)
    changed = synthesise(grey, 4).images
    assert np.array_equal(changed[..., 0], changed[..., 2])


def test_the_foreground_is_the_disc_and_everything_where_no_background_is_plain(parts: np.ndarray) -> None:
    rows, cols = np.mgrid[:96, :128]
    distance = np.hypot(rows - 48, cols - 64)
    found = foreground(parts[0])
    assert found[distance < 29].all()
    assert not found[distance > 36].any()
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3)).astype(np.uint8)
    assert foreground(noise).all()


def test_what_cannot_be_damaged_is_refused(parts: np.ndarray) -> None:
    with pytest.raises(SourceError, match="float32"):
        synthesise(parts.astype(np.float32), 0)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="20×20 pixels; synthetic defects need 32"):
        synthesise(parts[:, :20, :20], 0)
    with pytest.raises(SourceError, match="at least one"):
        synthesise(parts[:0], 0)
    with pytest.raises(SourceError, match=r"dent.*choose kinds from cut_paste"):
        synthesise(parts, 0, ["dent"])
