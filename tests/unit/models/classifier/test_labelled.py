"""Labelled pictures: what is read, what is refused, and that no part is in two splits."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.classifier.labelled import Labelled, read_labelled, require_known, split
from sightline.errors import SourceError
from sightline.trainingset import Split


def write(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 255, (16, 16, 3), np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten good pictures and six scratched ones, a folder each."""
    for number in range(10):
        write(tmp_path / "good" / f"cap{number:02}-a.png", number)
    for number in range(6):
        write(tmp_path / "scratch" / f"cap{20 + number}-a.png", 100 + number)
    return tmp_path


def picture(number: int, label: str, part: str) -> Labelled:
    return Labelled(Path(f"{label}/{number}.png"), label, part, f"{number:064}")


def test_labels_are_the_folders_names_and_three_fifths_are_learnt_from(folder: Path) -> None:
    found = split(read_labelled(folder))
    assert found.classes == ("good", "scratch")
    assert found.counts() == {
        "train": {"good": 6, "scratch": 4},
        "validation": {"good": 2, "scratch": 1},
        "test": {"good": 2, "scratch": 1},
    }
    assert found.targets(Split.TEST) == [0, 0, 1]


def test_defects_below_test_are_learnt_from_too(folder: Path) -> None:
    (folder / "train").mkdir()
    (folder / "test").mkdir()
    (folder / "good").rename(folder / "train" / "good")
    (folder / "scratch").rename(folder / "test" / "scratch")
    (folder / "ground_truth" / "scratch").mkdir(parents=True)
    assert split(read_labelled(folder)).counts()["train"] == {"good": 6, "scratch": 4}


def test_copies_of_a_picture_count_once(folder: Path) -> None:
    (folder / "good" / "copy.png").write_bytes((folder / "good" / "cap00-a.png").read_bytes())
    assert len(read_labelled(folder)) == 16
    (folder / "scratch" / "copy.png").write_bytes((folder / "good" / "cap00-a.png").read_bytes())
    with pytest.raises(SourceError, match="are one picture under two labels"):
        read_labelled(folder)


def test_a_part_pattern_keeps_pictures_of_one_part_together(folder: Path) -> None:
    for number in range(10):
        write(folder / "good" / f"cap{number:02}-b.png", 200 + number)
    found = split(read_labelled(folder, part_pattern=r"(cap\d+)"))
    for pictures in found.pictures.values():
        caps = [one.path.name[:5] for one in pictures if one.label == "good"]
        # both pictures of each cap
        assert all(caps.count(cap) == 2 for cap in caps)
    with pytest.raises(SourceError, match="does not match"):
        read_labelled(folder, part_pattern=r"lid(\d+)")
    with pytest.raises(SourceError, match="is no regular expression"):
        read_labelled(folder, part_pattern="(")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["good", "dent", "scratch"])), min_size=40, max_size=80),
    st.integers(0, 5),
)
def test_no_part_is_in_two_splits_and_each_label_is_in_all(frames: list[tuple[int, str]], seed: int) -> None:
    sure = [(100 + number, label) for number, label in enumerate(["good", "dent", "scratch"] * 5)]
    pictures = [picture(number, label, str(part)) for number, (part, label) in enumerate(frames + sure)]
    found = split(pictures, seed)
    parts = [{one.part for one in found.pictures[where]} for where in Split]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert sum(len(part) for part in found.pictures.values()) == len(pictures)
    for counts in found.counts().values():
        assert set(counts) == {"good", "dent", "scratch"}
    assert split(list(reversed(pictures)), seed).counts() == found.counts()


def test_only_good_pictures_are_refused_with_what_they_are_good_for(folder: Path) -> None:
    for path in (folder / "scratch").iterdir():
        path.unlink()
    with pytest.raises(SourceError, match=r"two labels or more, there is only 'good', 10 pictures.*sightline train"):
        split(read_labelled(folder))


def test_a_label_with_one_picture_is_named_with_the_remedies(folder: Path) -> None:
    write(folder / "dent" / "0.png", 300)
    with pytest.raises(SourceError, match=r"'dent' has 1 pictures of 1 parts, at least 5 .*--without LABEL"):
        split(read_labelled(folder))
    assert split(read_labelled(folder, without=["dent"])).classes == ("good", "scratch")


def test_labels_that_differ_in_case_or_mean_doubt_are_refused(folder: Path) -> None:
    write(folder / "Scratch" / "0.png", 300)
    with pytest.raises(SourceError, match="differ only in case: 'Scratch' and 'scratch'"):
        read_labelled(folder)
    (folder / "Scratch").rename(folder / "Unknown")
    with pytest.raises(SourceError, match="a label is 'unknown'"):
        read_labelled(folder)


def test_pictures_that_cannot_be_read_are_all_named(folder: Path) -> None:
    (folder / "good" / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (folder / "scratch" / "empty.png").write_bytes(b"")
    with pytest.raises(SourceError, match=r"2 pictures cannot be used.*\n- good/broken\.jpg.*\n- scratch/empty\.png"):
        read_labelled(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere is not a folder"):
        read_labelled(tmp_path / "nowhere")


def test_labels_that_a_classifier_does_not_have_are_named() -> None:
    with pytest.raises(SourceError, match="no class for 'dent', it knows good, scratch"):
        require_known([picture(0, "dent", "0"), picture(1, "good", "1")], ("good", "scratch"))
