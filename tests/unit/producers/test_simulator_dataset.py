"""A labelled folder of simulated pictures, from Python and from the command line."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import typer
from typer.testing import CliRunner

from producers.simulator import DEFECTS, LineSimulator
from producers.simulator.command import simulate
from producers.simulator.dataset import write_dataset
from sightline.errors import SettingsError

SMALL = {"width": 96, "height": 80}


@pytest.fixture
def command() -> typer.Typer:
    app = typer.Typer()
    app.command()(simulate)
    return app


def test_the_folder_has_the_layout_of_mvtec_ad(tmp_path: Path) -> None:
    summary = write_dataset(tmp_path / "set", "gear", 3, 6, 2, 5, kinds=["dent", "crack"], **SMALL)
    found = sorted(str(path.relative_to(tmp_path / "set")) for path in (tmp_path / "set").rglob("*.png"))
    assert found == [
        "ground_truth/crack/000_mask.png", "ground_truth/crack/001_mask.png",
        "ground_truth/dent/000_mask.png", "ground_truth/dent/001_mask.png", "ground_truth/dent/002_mask.png",
        "test/crack/000.png", "test/crack/001.png",
        "test/dent/000.png", "test/dent/001.png", "test/dent/002.png",
        "test/good/000.png", "test/good/001.png",
        *(f"train/good/00{number}.png" for number in range(6)),
    ]  # fmt: skip
    assert summary.counts == {"train/good": 6, "test/good": 2, "test/dent": 3, "test/crack": 2}
    assert summary.total == 13


def test_pictures_and_masks_are_the_lines_own(tmp_path: Path) -> None:
    write_dataset(tmp_path, "blister_pack", 3, 1, 0, 1, kinds=["stain"], **SMALL)
    line = LineSimulator("blister_pack", 3, **SMALL)
    picture, mask = cv2.imread(str(tmp_path / "test/stain/000.png")), cv2.imread(
        str(tmp_path / "ground_truth/stain/000_mask.png"), cv2.IMREAD_UNCHANGED
    )  # fmt: skip
    assert (cv2.imread(str(tmp_path / "train/good/000.png")) == line.render_as(0, "good").image).all()
    assert (picture == line.render_as(7, "stain").image).all()
    assert ((mask == 255) == line.render_as(7, "stain").mask).all()


def test_no_picture_comes_twice(tmp_path: Path) -> None:
    write_dataset(tmp_path, "bottle_cap", 3, 20, 10, 16, **SMALL)
    pictures = [path.read_bytes() for path in tmp_path.glob("t*/*/*.png")]
    assert len(set(pictures)) == len(pictures) == 46
    assert {path.name for path in (tmp_path / "test").iterdir()} == {"good", *DEFECTS}


def test_a_full_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SettingsError, match="already holds something"):
        write_dataset(tmp_path, "gear", 0, 1, 0, 0)
    with pytest.raises(SettingsError, match="already holds something"):
        write_dataset(tmp_path / "mine.txt", "gear", 0, 1, 0, 0)


def test_wrong_numbers_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="train is -1"):
        write_dataset(tmp_path, "gear", 0, -1, 0, 0)
    with pytest.raises(SettingsError, match="nothing to write"):
        write_dataset(tmp_path, "gear", 0, 0, 0, 0)


def test_the_command_writes_and_counts(tmp_path: Path, command: typer.Typer) -> None:
    arguments = [str(tmp_path / "caps"), "--train", "3", "--test-good", "1", "--test-defective", "2", "-k", "chip"]
    result = CliRunner().invoke(command, [*arguments, "--width", "96", "--height", "80"])
    assert result.exit_code == 0, result.output
    assert "6 pictures of bottle_cap" in result.output
    assert len(list((tmp_path / "caps/test/chip").iterdir())) == 2


def test_the_command_names_what_there_is(command: typer.Typer) -> None:
    result = CliRunner().invoke(command, ["--list"])
    assert result.exit_code == 0, result.output
    for name in ("bottle_cap", "circuit_board", *DEFECTS):
        assert name in result.output
