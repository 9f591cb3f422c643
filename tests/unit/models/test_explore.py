from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.explore import embedding_positions, explore, near_duplicates
from sightline.errors import SourceError


def test_near_duplicates_are_the_pairs_that_point_the_same_way_closest_first() -> None:
    angles = np.radians([0, 2, 50, 51, 120])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    pairs = near_duplicates(features)
    assert [pair[:2] for pair in pairs] == [(2, 3), (0, 1)]
    assert pairs[0][2] == pytest.approx(np.cos(np.radians(1)), abs=1e-6)
    assert near_duplicates(features, most=1) == pairs[:1]


@pytest.mark.parametrize(("count", "method"), [(2, "PCA"), (12, "PCA"), (40, "t-SNE")])
def test_the_map_keeps_what_looks_alike_together(count: int, method: str) -> None:
    rng = np.random.default_rng(0)
    group = np.arange(count) % 2
    features = rng.normal(0, 0.01, (count, 8)).astype(np.float32)
    features[:, 0] += group * 2 - 1
    places, found = embedding_positions(features)
    assert found == method
    assert places.shape == (count, 2)
    first, second = (places[group == one].mean(axis=0) for one in (0, 1))
    nearer = np.linalg.norm(places - second, axis=1) < np.linalg.norm(places - first, axis=1)
    assert (nearer == (group == 1)).all()


def test_plots_are_pictures_and_an_unsound_set_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        image = rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    plots = explore(tmp_path, tmp_path / "plots")
    assert set(plots) == {"samples", "statistics", "embedding", "near_duplicates"}
    for path in plots.values():
        drawn = cv2.imread(str(path))
        assert drawn.shape[1] > 600
        assert drawn.std() > 1
    cv2.imwrite(str(tmp_path / "12.png"), np.zeros((41, 60, 3), np.uint8))
    with pytest.raises(SourceError, match="12 of 60×40, 1 of 60×41"):
        explore(tmp_path, tmp_path / "again")
    assert not (tmp_path / "again").exists()
