from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from producers.doubles import picture
from producers.folder import ImageFolder
from producers.sources import Captured, Unreadable
from sightline.errors import SourceError


def save(path: Path, image: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, picture() if image is None else image)[1])
    return path


def read_all(folder: ImageFolder, most: int = 100) -> list[Captured | Unreadable]:
    folder.open()
    taken: list[Captured | Unreadable] = []
    while len(taken) < most and (shot := folder.read()) is not None:
        taken.append(shot)
    folder.close()
    return taken


def pictures_as_numbers(shots: list[Captured | Unreadable]) -> list[int]:
    """The upper left pixel of each picture, which tells the files of a test apart."""
    return [int(shot.picture[0, 0, 0]) for shot in shots if isinstance(shot, Captured)]  # type: ignore[call-overload]


def test_pictures_come_in_natural_order_through_all_folders(tmp_path: Path) -> None:
    for value, name in enumerate(["a/part2.png", "a/part9.png", "a/part10.png", "b/part1.bmp", "part1.tif"]):
        save(tmp_path / name, np.full((8, 8, 3), value * 10, np.uint8))
    assert pictures_as_numbers(read_all(ImageFolder(tmp_path))) == [0, 10, 20, 30, 40]


def test_only_pictures_of_parts_are_read(tmp_path: Path) -> None:
    save(tmp_path / "test" / "scratch" / "001.png")
    save(tmp_path / "ground_truth" / "scratch" / "001_mask.png")
    save(tmp_path / ".thumbnails" / "001.png")
    save(tmp_path / "test" / "scratch" / "001.png").with_name("._001.png").write_bytes(b"of a Mac")
    (tmp_path / "readme.txt").write_text("notes")
    assert len(read_all(ImageFolder(tmp_path))) == 1


@pytest.mark.parametrize(
    ("file", "label"),
    [
        ("bottle/train/good/1.png", "good"),
        ("bottle/test/broken_large/1.png", "broken_large"),
        ("bottle/test/1.png", None),
        ("2026-11-21/1.png", None),
        ("1.png", None),
        ("bottle/test/\udcff/1.png", None),
    ],
)
def test_labels_are_the_folders_of_the_common_layout(tmp_path: Path, file: str, label: str | None) -> None:
    save(tmp_path / file)
    (shot,) = read_all(ImageFolder(tmp_path))
    assert isinstance(shot, Captured)
    assert shot.label == label


def test_a_folder_beside_good_is_a_label(tmp_path: Path) -> None:
    save(tmp_path / "good" / "1.png")
    save(tmp_path / "dented" / "1.png")
    assert [shot.label for shot in read_all(ImageFolder(tmp_path)) if isinstance(shot, Captured)] == ["dented", "good"]


@pytest.mark.parametrize("below", ["", "test", "test/broken"])
def test_the_product_is_named_after_the_data_set(tmp_path: Path, below: str) -> None:
    root = tmp_path / "bottle" / below
    assert ImageFolder(root).product == "bottle"
    assert ImageFolder(root, product="flask").product == "flask"


def test_jpeg_files_pass_byte_for_byte_whatever_they_are_called(tmp_path: Path) -> None:
    data = save(tmp_path / "1.jpg").read_bytes()
    (tmp_path / "2.png").write_bytes(data)
    exif = bytes.fromhex("ffe1 0022 457869660000 4d4d002a00000008 0001 0112 0003 00000001 00060000 00000000")
    with_rotation = data[:2] + exif + data[2:]
    (tmp_path / "3.jpg").write_bytes(with_rotation)
    pictures = [shot.picture for shot in read_all(ImageFolder(tmp_path)) if isinstance(shot, Captured)]
    assert pictures == [data, data, with_rotation]


def test_16_bit_pictures_keep_their_upper_bits_the_same_for_all(tmp_path: Path) -> None:
    save(tmp_path / "bright.png", np.full((8, 8), 0xC0FF, np.uint16))
    save(tmp_path / "dark.png", np.full((8, 8), 0x10FF, np.uint16))
    assert pictures_as_numbers(read_all(ImageFolder(tmp_path))) == [0xC0, 0x10]


def test_12_bit_pictures_in_16_bit_files_keep_their_range(tmp_path: Path) -> None:
    save(tmp_path / "1.png", np.full((8, 8, 3), 0x0FFF, np.uint16))
    save(tmp_path / "2.png", np.full((8, 8, 3), 0x080F, np.uint16))
    save(tmp_path / "3.png", np.full((8, 8, 3), 0xFFFF, np.uint16))
    assert pictures_as_numbers(read_all(ImageFolder(tmp_path, bits=12))) == [0xFF, 0x80, 0xFF]


def test_grey_and_transparent_pictures_become_colour(tmp_path: Path) -> None:
    save(tmp_path / "1.png", np.full((8, 9), 7, np.uint8))
    save(tmp_path / "2.png", np.full((8, 9, 4), 7, np.uint8))
    shapes = [shot.picture.shape for shot in read_all(ImageFolder(tmp_path)) if not isinstance(shot.picture, bytes)]  # type: ignore[union-attr]
    assert shapes == [(8, 9, 3), (8, 9, 3)]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"this is a text", "no picture"),
        ("marker.jpg", b"\xff\xd8\xff\xe0 and then text", "no frame header"),
        ("cut.png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "no picture"),
    ],
)
def test_an_unreadable_file_is_told_and_the_next_one_read(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(content)
    save(tmp_path / "z.png")
    bad, good = read_all(ImageFolder(tmp_path))
    assert isinstance(bad, Unreadable)
    assert bad.what.endswith(name)
    assert why in bad.why
    assert isinstance(good, Captured)


def test_a_picture_that_claims_gigapixels_is_not_decoded(tmp_path: Path) -> None:
    data = bytearray(save(tmp_path / "bomb.bmp").read_bytes())
    data[18:26] = (30_000).to_bytes(4, "little") * 2
    (tmp_path / "bomb.bmp").write_bytes(data)
    (shot,) = read_all(ImageFolder(tmp_path))
    assert isinstance(shot, Unreadable)


def test_a_loop_begins_again(tmp_path: Path) -> None:
    for value in range(3):
        save(tmp_path / f"{value}.png", np.full((8, 8, 3), value, np.uint8))
    assert pictures_as_numbers(read_all(ImageFolder(tmp_path, loop=True), most=7)) == [0, 1, 2, 0, 1, 2, 0]


def test_a_loop_over_nothing_readable_ends_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"no")
    with pytest.raises(SourceError, match="none of the 1 pictures"):
        read_all(ImageFolder(tmp_path, loop=True))


def test_cameras_share_a_folder_in_turn(tmp_path: Path) -> None:
    for value in range(5):
        save(tmp_path / f"{value}.png", np.full((8, 8, 3), value, np.uint8))
    shares = [pictures_as_numbers(read_all(ImageFolder(tmp_path, part=(k, 2)))) for k in range(2)]
    assert shares == [[0, 2, 4], [1, 3]]


def test_folders_without_pictures_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="'nowhere' is not there"):
        ImageFolder(Path("nowhere")).open()
    with pytest.raises(SourceError, match="no picture in it"):
        ImageFolder(tmp_path).open()
    file = save(tmp_path / "1.png")
    with pytest.raises(SourceError, match="a file, not a folder"):
        ImageFolder(file).open()
    with pytest.raises(SourceError, match="1 pictures, too few for 2 cameras"):
        ImageFolder(tmp_path, part=(1, 2)).open()
