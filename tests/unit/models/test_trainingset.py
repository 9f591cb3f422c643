from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.trainingset import load_training_set
from sightline.errors import SourceError
from sightline.trainingset import (
    Fractions,
    Manifest,
    Picture,
    Split,
    assign_splits,
    counts,
    problems,
    read_manifest,
    set_digest,
    split_of,
    write_manifest,
)


def fill(folder: Path, count: int, seed: int = 0, shape: tuple[int, int] = (20, 30)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:03}.png"), rng.integers(0, 256, (*shape, 3)).astype(np.uint8))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fill(tmp_path / "train" / "good", 12)
    fill(tmp_path / "test" / "good", 3, seed=1)
    fill(tmp_path / "test" / "dent", 3, seed=2)
    return tmp_path


def picture(number: int, **other: object) -> Picture:
    known = Picture(f"train/good/{number}.png", "good", Split.TRAIN, f"p{number}", f"{number:064}", 30, 20, 90, 40, "x")
    return replace(known, **other)  # type: ignore[arg-type]


def test_a_part_stays_where_it_is_when_others_come() -> None:
    fractions = Fractions(0.6, 0.2, 0.2)
    few = assign_splits([(f"p{number}", "good") for number in range(50)], fractions, 1)
    many = assign_splits([(f"p{number}", "good") for number in range(2000)], fractions, 1)
    assert few.items() <= many.items()
    shares = [sum(split is one for split in many.values()) / 2000 for one in Split]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.04)
    assert many != assign_splits([(part, "good") for part in many], fractions, 2)


def test_a_part_with_a_defect_is_never_learnt_from_and_moves_only_out_of_train() -> None:
    fractions = Fractions(0.5, 0.25, 0.25)
    for number in range(200):
        good = split_of(f"p{number}", fractions, 0)
        bad = split_of(f"p{number}", fractions, 0, defective=True)
        assert bad is not Split.TRAIN
        assert good is Split.TRAIN or good is bad
    mixed = assign_splits([("p", "good"), ("p", "dent"), ("p", "good")], fractions, 0)
    assert mixed["p"] is not Split.TRAIN
    with pytest.raises(SourceError, match="give test a share"):
        split_of("p", Fractions(1, 0, 0), 0, defective=True)


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.5), (0, 0.5, 0.5), (1.5, -0.5, 0)])
def test_shares_must_add_up(shares: tuple[float, float, float]) -> None:
    with pytest.raises(SourceError, match="add up to 1"):
        Fractions(*shares)


def test_every_fault_of_a_set_is_told_with_its_remedy() -> None:
    assert problems([picture(number) for number in range(10)]) == []
    assert "no usable picture" in problems([])[0]
    assert "one single picture" in problems([picture(0)])[0]
    assert "9 good pictures fall into train, at least 10" in problems([picture(number) for number in range(9)])[0]
    many = [picture(number) for number in range(12)]
    (sizes,) = problems([*many, picture(90, width=31)])
    assert "12 of 30×20, 1 of 31×20" in sizes
    assert problems([*many, picture(90, width=31)], mixed_sizes=True) == []
    (black,) = problems([*many, picture(90, contrast=0.5)])
    assert "1 pictures are black or plain" in black
    twice = picture(90, label="dent", sha256=many[0].sha256, path="train/dent/90.png")
    assert any("under two labels (train/good/0.png = train/dent/90.png)" in line for line in problems([*many, twice]))
    leak = picture(90, split=Split.TEST, part="p3")
    assert any("1 parts lie in two splits (p3)" in line for line in problems([*many, leak]))


def test_a_folder_in_the_usual_layout_is_read_and_measured(root: Path) -> None:
    found = load_training_set(root)
    assert counts(found.pictures) == {"train": {"good": 12}, "test": {"dent": 3, "good": 3}}
    assert {(one.width, one.height) for one in found.pictures} == {(30, 20)}


def _black(root: Path) -> None:
    for path in (root / "train" / "good").iterdir():
        cv2.imwrite(str(path), np.zeros((20, 30, 3), np.uint8))


def _mask(shape: tuple[int, int], marked: int, name: str = "001") -> Callable[[Path], None]:
    def put(root: Path) -> None:
        mask = np.zeros(shape, np.uint8)
        mask.flat[:marked] = 255
        (root / "ground_truth" / "dent").mkdir(parents=True)
        cv2.imwrite(str(root / "ground_truth" / "dent" / f"{name}_mask.png"), mask)

    return put


def _broken(root: Path) -> None:
    (root / "train" / "good" / "003.png").write_bytes(b"\xff\xd8\xff and no more")


def _copied(root: Path) -> None:
    (root / "test" / "good" / "000.png").write_bytes((root / "train" / "good" / "000.png").read_bytes())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_black, "12 pictures are black or plain all over"),
        (_mask((10, 10), 20), "001_mask.png is 10×10, its picture 30×20"),
        (_mask((20, 30), 2), "marks 2 pixels, too few"),
        (_mask((20, 30), 600), "marks almost the whole picture"),
        (_mask((20, 30), 50, "077"), "077_mask.png fits no picture"),
        (_broken, "003.png cannot be used"),
        (_copied, "1 pictures lie in two splits"),
        (lambda root: fill(root / "test" / "wide", 2, 5, (20, 40)), "18 of 30×20, 2 of 40×20"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(root: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(root)
    with pytest.raises(SourceError) as caught:
        load_training_set(root)
    assert message in str(caught.value)


def _ingested(root: Path) -> Manifest:
    pictures = load_training_set(root).pictures
    manifest = Manifest(
        "folder", "cap", "each", Fractions(), 0, datetime(2026, 3, 2, tzinfo=UTC), set_digest(pictures),
        counts(pictures), {"empty": 1}, False, pictures,
    )  # fmt: skip
    write_manifest(manifest, root)
    return manifest


def test_a_manifest_is_read_back_and_every_later_change_is_noticed(root: Path) -> None:
    manifest = _ingested(root)
    assert read_manifest(root) == manifest
    assert load_training_set(root).manifest == manifest
    assert len(load_training_set(root).dataset.test) == 6
    fill(root / "test" / "good", 4, seed=1)
    with pytest.raises(SourceError, match=r"test/good/003\.png is not in the manifest"):
        load_training_set(root)
    (root / "test" / "good" / "003.png").unlink()
    fill(root / "train" / "good", 1, seed=9)
    with pytest.raises(SourceError, match=r"train/good/000\.png is not what the manifest says"):
        load_training_set(root)
    (root / "trainingset.json").write_text("{}")
    with pytest.raises(SourceError, match="no manifest of a training set"):
        load_training_set(root)
