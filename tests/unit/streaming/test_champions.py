"""What the mirror makes of versions that cannot be had, cannot be tried or are bad; the registry is a double."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.doubles import write_brightness_bundle
from models.registry import CHALLENGER, RegisteredDetector
from models.registry_reader import RegistryReader
from models.runtime.card import bundle_digest
from sightline.errors import DetectorError, RegistryError
from sightline.settings import RegistrySettings
from streaming import champions
from streaming.champions import Mirror
from streaming.detectors import CHALLENGERS, CHAMPIONS, read_pointer


class Shelf(RegistryReader):
    """A registry of brightness detectors; `faults` are raised when a product is fetched."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.wanted: dict[str, RegisteredDetector] = {}
        self.faults: dict[str, Exception] = {}
        self.fetched: list[str] = []

    def put(self, product: str, version: str = "1") -> None:
        """Give `version` of a product's detector the alias."""
        bundle = self._folder / product / version
        write_brightness_bundle(bundle, product, threshold=200.0 + int(version))
        self.wanted[product] = RegisteredDetector(f"sightline.{product}", product, version, bundle_digest(bundle))

    def named(self, alias: str, settings: RegistrySettings) -> dict[str, RegisteredDetector]:
        return dict(self.wanted)

    def fetch(self, detector: RegisteredDetector, folder: Path, settings: RegistrySettings) -> Path:
        self.fetched.append(detector.version)
        if detector.product in self.faults:
            raise self.faults[detector.product]
        shutil.copytree(self._folder / detector.product / detector.version, folder, dirs_exist_ok=True)
        return folder


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "shelf")


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """How trials end from now on: with this exit code, or not in time."""

    def set_to(code: int | None) -> None:
        def run(command: list[str], *, timeout: float, **_: Any) -> subprocess.CompletedProcess[str]:
            if code is None:
                raise subprocess.TimeoutExpired(command, timeout)
            return subprocess.CompletedProcess(command, code, "", "it is bad" if code > 0 else "")

        monkeypatch.setattr(champions.subprocess, "run", run)

    set_to(0)
    return set_to


def mirror(tmp_path: Path, shelf: Shelf, *, poll_seconds: float = 1e-9, **more: Any) -> Mirror:
    settings = RegistrySettings(tracking_uri="sqlite:///absent.db", poll_seconds=poll_seconds)
    return Mirror(tmp_path / "detectors", settings, "onnxruntime", reader=shelf, **more)


def versions(tmp_path: Path, pointer: str = CHAMPIONS) -> dict[str, str]:
    return {product: bundle.version for product, bundle in read_pointer(tmp_path / "detectors" / pointer).items()}


@pytest.mark.parametrize("fault", [RegistryError("the artifact is gone"), PermissionError("no room of yours")])
def test_a_product_that_cannot_be_fetched_holds_up_no_other_and_comes_later(
    tmp_path: Path, shelf: Shelf, ends: Callable[[int | None], None], fault: Exception
) -> None:
    for product in ("gear", "washer"):
        shelf.put(product)
    shelf.faults["gear"] = fault
    mirrored = mirror(tmp_path, shelf)
    mirrored.sync()
    assert versions(tmp_path) == {"washer": "1"}
    assert mirrored.refused == 0
    del shelf.faults["gear"]
    mirrored.sync()
    assert versions(tmp_path) == {"gear": "1", "washer": "1"}


def test_a_product_keeps_its_last_good_one_while_the_next_cannot_be_fetched(
    tmp_path: Path, shelf: Shelf, ends: Callable[[int | None], None]
) -> None:
    for product in ("gear", "washer"):
        shelf.put(product)
    mirrored = mirror(tmp_path, shelf)
    mirrored.sync()
    for product in ("gear", "washer"):
        shelf.put(product, "2")
    shelf.faults["gear"] = RegistryError("the artifact is gone")
    mirrored.sync()
    assert versions(tmp_path) == {"gear": "1", "washer": "2"}


@pytest.mark.parametrize("code", [None, -9])
def test_a_trial_without_an_answer_is_held_again(
    tmp_path: Path, shelf: Shelf, ends: Callable[[int | None], None], code: int | None
) -> None:
    shelf.put("washer")
    ends(code)
    mirrored = mirror(tmp_path, shelf)
    mirrored.sync()
    mirrored.sync()
    assert (versions(tmp_path), mirrored.refused) == ({}, 0)
    ends(0)
    mirrored.sync()
    assert versions(tmp_path) == {"washer": "1"}


def test_pauses_between_tries_grow_up_to_a_bound(
    tmp_path: Path, shelf: Shelf, ends: Callable[[int | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(champions.time, "monotonic", lambda: now)
    shelf.put("washer")
    ends(-9)
    mirrored = mirror(tmp_path, shelf, poll_seconds=5)
    tried = []
    for second in range(1200):
        now = 1000.0 + second
        before = len(shelf.fetched)
        mirrored.sync()
        if len(shelf.fetched) > before:
            tried.append(second)
    assert tried == [0, 5, 15, 35, 75, 155, 315, 615, 915]
    # another version does not have to wait for this one
    shelf.put("washer", "2")
    mirrored.sync()
    assert shelf.fetched[-1] == "2"


def test_what_fails_its_trial_stays_refused(
    tmp_path: Path, shelf: Shelf, ends: Callable[[int | None], None], caplog: pytest.LogCaptureFixture
) -> None:
    shelf.put("washer")
    ends(1)
    mirrored = mirror(tmp_path, shelf)
    mirrored.sync()
    ends(0)
    mirrored.sync()
    assert (versions(tmp_path), mirrored.refused) == ({}, 1)
    assert [record.message for record in caplog.records] == ["champion refused, the last good one stays"]
    assert "it is bad" in caplog.records[0].__dict__["error"]


def test_a_start_without_any_champion_tells_what_is_tried_again(
    tmp_path: Path, shelf: Shelf, ends: Callable[[int | None], None]
) -> None:
    shelf.put("washer")
    shelf.faults["washer"] = RegistryError("the artifact is gone")
    mirrored = mirror(tmp_path, shelf, poll_seconds=3600)
    mirrored.follow()
    with pytest.raises(DetectorError, match=r"no champion .*tried again: the artifact is gone"):
        mirrored.require()
    mirrored.stop()


def test_a_challenger_that_cannot_be_fetched_leaves_none_of_an_earlier_version(
    tmp_path: Path, shelf: Shelf, ends: Callable[[int | None], None]
) -> None:
    shelf.put("washer")
    mirrored = mirror(tmp_path, shelf, alias=CHALLENGER)
    mirrored.sync()
    assert versions(tmp_path, CHALLENGERS) == {"washer": "1"}
    shelf.put("washer", "2")
    shelf.faults["washer"] = RegistryError("the artifact is gone")
    mirrored.sync()
    assert versions(tmp_path, CHALLENGERS) == {}
