from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.dataset import MIN_GOOD, data_digest, load_images, load_mask, read_dataset
from models.runtime.view import open_view
from sightline.errors import SourceError


def fill(folder: Path, count: int, suffix: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:03}{suffix}"), np.full((20, 30, 3), 40 + number, np.uint8))


def test_the_mvtec_layout_gives_kinds_and_masks(tmp_path: Path) -> None:
    fill(tmp_path / "train" / "good", MIN_GOOD)
    fill(tmp_path / "test" / "good", 2)
    fill(tmp_path / "test" / "scratch", 3)
    mask = np.zeros((20, 30), np.uint8)
    mask[5:10] = 255
    (tmp_path / "ground_truth" / "scratch").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "ground_truth" / "scratch" / "001_mask.png"), mask)
    found = read_dataset(tmp_path)
    assert len(found.good) == MIN_GOOD
    assert [sample.kind for sample in found.test] == ["good"] * 2 + ["scratch"] * 3
    masks = [sample.mask for sample in found.test if sample.mask]
    assert len(masks) == 1
    assert load_mask(masks[0], 40, 60).sum() == pytest.approx(10 * 60, rel=0.1)


def test_a_flat_folder_is_all_good(tmp_path: Path) -> None:
    fill(tmp_path, 12, ".JPG")
    (tmp_path / "notes.txt").write_text("not a picture")
    found = read_dataset(tmp_path)
    assert len(found.good) == 12
    assert found.test == ()


def test_a_missing_an_empty_and_a_poor_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="absent is not a folder"):
        read_dataset(tmp_path / "absent")
    with pytest.raises(SourceError, match=f"holds 0 pictures.*at least {MIN_GOOD}"):
        read_dataset(tmp_path)
    fill(tmp_path, MIN_GOOD - 1)
    with pytest.raises(SourceError, match=f"holds {MIN_GOOD - 1} pictures"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("grey8.png", np.full((30, 20), 128, np.uint8)),
        ("grey16.png", np.full((30, 20), 128 << 8, np.uint16)),
        ("colour16.tiff", np.full((300, 200, 3), 128 << 8, np.uint16)),
        ("alpha.png", np.full((30, 20, 4), 128, np.uint8)),
        ("large.jpg", np.full((900, 1200, 3), 128, np.uint8)),
    ],
)
def test_any_size_and_depth_becomes_the_same_grey(tmp_path: Path, name: str, pixels: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / name), pixels)
    images = load_images([tmp_path / name], 32, 48)
    assert images.shape == (1, 32, 48, 3)
    assert np.abs(images.astype(int) - 128).max() <= 2


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff and no more"])
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"broken\.png"):
        load_images([path], 32, 32)


def test_float_pixels_are_refused_with_the_remedy(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "float.tiff"), np.ones((8, 8, 3), np.float32))
    with pytest.raises(SourceError, match="float32 pixels; save it with 8 or 16 bits"):
        load_images([tmp_path / "float.tiff"], 32, 32)


def test_the_data_digest_follows_content_and_not_the_place(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        fill(tmp_path / folder, MIN_GOOD)
    first, second = (data_digest(read_dataset(tmp_path / folder)) for folder in ("a", "b"))
    assert first == second
    fill(tmp_path / "b", MIN_GOOD + 1)
    assert data_digest(read_dataset(tmp_path / "b")) != first


def test_pictures_and_ground_truth_are_seen_through_a_view(tmp_path: Path) -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    image[40:80, 60:120] = 200
    defect = np.zeros((120, 160), np.uint8)
    defect[40:80, 60:120] = 255
    looked_at = np.zeros((120, 160), np.uint8)
    looked_at[:, :90] = 255
    for name, picture in (("part.png", image), ("truth.png", defect), ("looked_at.png", looked_at)):
        assert cv2.imwrite(str(tmp_path / name), picture)
    view = open_view((60, 40, 60, 40), tmp_path / "looked_at.png", "--")
    assert load_images([tmp_path / "part.png"], 20, 30, view)[0, 2:-2, 2:-2].min() > 180
    seen = load_mask(tmp_path / "truth.png", 20, 30, view)
    assert seen[:, :15].all()
    assert not seen[:, 15:].any()
    other = open_view((100, 0, 64, 64), None, "--")
    with pytest.raises(SourceError, match=r"part.png .*--region = \[100, 0, 64, 64\]"):
        load_images([tmp_path / "part.png"], 20, 30, other)
