from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from producers.cameras import NetworkCamera, UsbCamera
from producers.doubles import picture
from producers.folder import ImageFolder
from producers.line import SimulatedLine
from producers.sources import Captured
from producers.spec import Manner, build, parse, split
from producers.video import VideoFile
from sightline.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("sim:bottle_cap?seed=3", SimulatedLine),
        ("folder:pictures", ImageFolder),
        ("video:belt.mp4", VideoFile),
        ("usb:2", UsbCamera),
        ("3", UsbCamera),
        ("rtsp://u:p@cam/1?channel=2", NetworkCamera),
        ("http://cam/video.mjpg", NetworkCamera),
    ],
)
def test_each_kind_of_source_has_a_name(text: str, kind: type) -> None:
    assert isinstance(build(parse(text), Manner()), kind)


def test_a_path_alone_is_a_folder_or_a_video(tmp_path: Path) -> None:
    assert parse(str(tmp_path)).kind == "folder"
    odd = tmp_path / "what?.avi"
    odd.write_bytes(b"")
    assert parse(str(odd)).kind == "video"
    assert parse(f"video:{odd}").target == str(odd)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tape:1", "neither a file, a folder nor a kind of source"),
        ("folder:", "names nothing"),
        ("sim:bottle_cap?sede=3", "no option sede; it has defects"),
        ("sim:bottle_cap?seed=three", "seed must be a number 0 to .*not 'three'"),
        ("sim:bottle_cap?defects=1.5", "defects must be a number 0 to 1, not '1.5'"),
        ("folder:x?bits=4", "bits must be a number 8 to 16"),
        ("usb:front", "named by its number"),
        ("sim:teapot", "teapot"),
    ],
)
def test_what_cannot_be_is_refused_with_its_value(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        build(parse(text), Manner())


def test_simulated_cameras_show_different_parts_and_each_the_same_again() -> None:
    def first(part: int) -> np.ndarray:
        source = build(split(parse("sim:bottle_cap?seed=3&width=160&height=120"), 2)[part], Manner())
        source.open()
        shot = source.read()
        assert isinstance(shot, Captured)
        assert isinstance(shot.picture, np.ndarray)
        assert shot.product == "bottle_cap"
        return shot.picture

    assert (first(0) == first(0)).all()
    assert (first(0) != first(1)).any()


def test_cameras_share_a_folder_but_not_a_real_camera(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture(number))
    counts = []
    for spec in split(parse(str(tmp_path)), 2):
        source = build(spec, Manner())
        source.open()
        counts.append(sum(1 for _ in iter(source.read, None)))
    assert counts == [2, 1]
    with pytest.raises(SettingsError, match=r"rtsp://\*\*\*@cam/1 is one camera, not 2"):
        split(parse("rtsp://u:p@cam/1"), 2)
