"""What the demo can be asked to watch, and how it answers when it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import lines
from sightline.errors import SettingsError, SourceError


def choose(**asked: object) -> lines.Line:
    nothing = {"images": None, "video": None, "camera": None, "product": "bottle_cap", "cameras": 2, "fps": 5.0}
    return lines.choose(**{**nothing, **asked})  # type: ignore[arg-type]


def test_the_simulated_line_is_the_default_and_has_a_name_per_camera() -> None:
    line = choose(cameras=3)
    assert line.labelled
    assert [part for part in line.produce if part.startswith("bottle_cap-")] == [
        f"bottle_cap-cam-{n}" for n in (1, 2, 3)
    ]


def test_an_image_folder_is_streamed_once(tmp_path: Path) -> None:
    folder = tmp_path / "Brake Pads"
    (folder / "train" / "good").mkdir(parents=True)
    (folder / "test").mkdir()
    line = choose(images=folder)
    assert line.product == "brake_pads"
    assert line.prepare == ()
    assert "--once" in line.produce


@pytest.mark.parametrize("missing", ["", "train/good", "test"])
def test_an_incomplete_folder_is_named_with_what_it_needs(tmp_path: Path, missing: str) -> None:
    folder = tmp_path / "parts"
    for part in ("train/good", "test"):
        if missing and part != missing:
            (folder / part).mkdir(parents=True)
    with pytest.raises(SourceError, match="DIR/train/good") as refused:
        choose(images=folder)
    assert str(folder / missing) in str(refused.value)


def test_a_missing_video_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nothing\.mp4 is not a file"):
        choose(video=tmp_path / "nothing.mp4")


def test_two_sources_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--images and --camera exclude each other"):
        choose(images=tmp_path, camera=0)
