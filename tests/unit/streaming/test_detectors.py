"""How a worker takes over a new champion, and keeps the old one when the new one is bad."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.runtime.scorer import Scorer
from sightline.errors import DetectorError, FrameError
from streaming.detectors import CHAMPIONS, Bundle, DetectorSet, read_pointer, write_pointer


class Loader:
    """Stands for `load_scorer`: remembers what was asked, refuses folders named `bad`."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, folder: Path) -> Scorer:
        self.asked.append(folder.name)
        if folder.name == "bad":
            raise DetectorError("bad weights")
        return folder.name  # type: ignore[return-value]  # only passed through


def name(folder: Path, version: str, bundle: str, product: str = "washer") -> None:
    write_pointer(folder / CHAMPIONS, {product: Bundle(name="n", version=version, digest=version, folder=bundle)})
    # a file system's clock may be coarser than two writes in a test
    os.utime(folder / CHAMPIONS, ns=(int(version) * 10**9, int(version) * 10**9))


@pytest.fixture
def load() -> Loader:
    return Loader()


def test_a_new_champion_is_loaded_once(tmp_path: Path, load: Loader) -> None:
    detectors = DetectorSet(tmp_path, load)
    name(tmp_path, "1", "first")
    detectors.refresh()
    detectors.refresh()
    assert load.asked == ["first"]
    name(tmp_path, "2", "second")
    detectors.refresh()
    assert (detectors.for_product("washer").scorer, detectors.for_product("washer").ref.version) == ("second", "2")


def test_a_bad_champion_leaves_the_last_good_one(tmp_path: Path, load: Loader) -> None:
    detectors = DetectorSet(tmp_path, load)
    name(tmp_path, "1", "first")
    detectors.refresh()
    name(tmp_path, "2", "bad")
    detectors.refresh()
    assert detectors.for_product("washer").ref.version == "1"


def test_a_damaged_pointer_leaves_the_last_good_one(tmp_path: Path, load: Loader) -> None:
    detectors = DetectorSet(tmp_path, load)
    name(tmp_path, "1", "first")
    detectors.refresh()
    (tmp_path / CHAMPIONS).write_text('{"washer": ')
    detectors.refresh()
    assert detectors.for_product("washer").ref.version == "1"
    with pytest.raises(DetectorError, match="damaged"):
        read_pointer(tmp_path / CHAMPIONS)


def test_another_product_is_refused_with_the_known_ones(tmp_path: Path, load: Loader) -> None:
    detectors = DetectorSet(tmp_path, load)
    detectors.refresh()
    with pytest.raises(FrameError, match="known: none"):
        detectors.for_product("teapot")
    name(tmp_path, "1", "first")
    detectors.refresh()
    with pytest.raises(FrameError, match=r"'teapot'.*washer") as refused:
        detectors.for_product("teapot")
    assert refused.value.reason == "no-detector"
