"""Champions on their way from a real registry to the folder that the workers watch."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.chaos.detectors import giving_other_scores
from console.api.catalogue import Catalogue
from console.api.problems import Problem
from models import registry
from models.doubles import write_brightness_bundle
from models.registry import CHALLENGER
from models.registry_reader import listed
from models.runtime.card import GRAPH_FILE, load_card, save_card
from models.runtime.self_test import save_self_test
from models.runtime.view import View
from sightline.errors import DetectorError
from sightline.settings import RegistrySettings
from streaming.champions import Mirror
from streaming.detectors import CHALLENGERS, CHAMPIONS, Bundle, DetectorSet, read_pointer


@pytest.fixture
def settings(tmp_path: Path) -> RegistrySettings:
    return RegistrySettings.load(tracking_uri=f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}")


def register(
    tmp_path: Path,
    settings: RegistrySettings,
    threshold: float,
    *,
    spoil: Callable[[Path], object] = lambda _: None,
    alias: str = "champion",
) -> str:
    bundle = tmp_path / "bundles" / str(threshold)
    write_brightness_bundle(bundle, threshold=threshold)
    spoil(bundle)
    return registry.register_bundle(bundle, settings, alias=alias).version


def mirror(tmp_path: Path, settings: RegistrySettings) -> Mirror:
    return Mirror(tmp_path / "detectors", settings, "onnxruntime")


def challenger(tmp_path: Path) -> Bundle | None:
    return read_pointer(tmp_path / "detectors" / CHALLENGERS).get("washer")


def in_force(tmp_path: Path) -> tuple[str, float]:
    """Version and threshold that a worker would judge with."""
    from models.runtime.scorer import load_scorer

    detectors = DetectorSet(tmp_path / "detectors", lambda folder: load_scorer(folder, "onnxruntime"))
    detectors.refresh()
    loaded = detectors.for_product("washer")
    return loaded.ref.version, loaded.scorer.card.threshold


def test_a_champion_arrives_and_the_next_one_follows(tmp_path: Path, settings: RegistrySettings) -> None:
    champions = mirror(tmp_path, settings)
    register(tmp_path, settings, 200.0)
    champions.sync()
    assert in_force(tmp_path) == ("1", 200.0)
    register(tmp_path, settings, 180.0)
    champions.sync()
    assert in_force(tmp_path) == ("2", 180.0)
    registry.set_champion("washer", "1", settings)
    champions.sync()
    assert in_force(tmp_path) == ("1", 200.0)


def unreadable(bundle: Path) -> None:
    (bundle / GRAPH_FILE).write_bytes(b"not a graph")


def judging_otherwise(bundle: Path) -> None:
    giving_other_scores(bundle, random.Random(0))


def with_a_small_budget(bundle: Path) -> None:
    save_card(replace(load_card(bundle), latency_budget_ms=0.0001), bundle)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (unreadable, "is not an ONNX graph"),
        (judging_otherwise, "self-test picture dark, expected ok with a score of 40 ± 3.4, got ok with 20"),
        (with_a_small_budget, "ms of a processor for a white picture, at most 0.0001 ms are allowed"),
    ],
)
def test_a_bundle_that_fails_its_trial_never_reaches_a_worker(
    tmp_path: Path,
    settings: RegistrySettings,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], object],
    why: str,
) -> None:
    champions = mirror(tmp_path, settings)
    register(tmp_path, settings, 200.0)
    champions.sync()
    register(tmp_path, settings, 170.0, spoil=spoil)
    champions.sync()
    champions.sync()
    assert in_force(tmp_path) == ("1", 200.0)
    refusals = [record for record in caplog.records if "refused" in record.message]
    assert len(refusals) == 1
    assert why in refusals[0].__dict__["error"]


def test_a_bundle_without_a_self_test_is_taken_over_and_the_log_says_so(
    tmp_path: Path, settings: RegistrySettings, caplog: pytest.LogCaptureFixture
) -> None:
    register(tmp_path, settings, 200.0, spoil=lambda bundle: save_self_test((), load_card(bundle), bundle))
    mirror(tmp_path, settings).sync()
    assert in_force(tmp_path) == ("1", 200.0)
    assert "champion has no self-test pictures" in caplog.text


def test_without_a_registry_the_last_champion_stays(tmp_path: Path, settings: RegistrySettings) -> None:
    register(tmp_path, settings, 200.0)
    mirror(tmp_path, settings).sync()
    gone = RegistrySettings.load(tracking_uri="http://127.0.0.1:1", poll_seconds=60)
    again = mirror(tmp_path, gone)
    again.follow()
    again.require()
    again.stop()
    assert in_force(tmp_path) == ("1", 200.0)


def test_a_registry_that_does_not_answer_does_not_hold_a_start_up(
    tmp_path: Path, settings: RegistrySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(tmp_path, settings, 200.0)
    mirror(tmp_path, settings).sync()
    monkeypatch.setattr("streaming.champions.PATIENCE_SECONDS", 0.01)
    answers = threading.Event()
    again = mirror(tmp_path, settings)
    monkeypatch.setattr(again, "sync", answers.wait)
    again.follow()
    again.require()
    assert not answers.is_set()
    assert in_force(tmp_path) == ("1", 200.0)
    answers.set()
    again.stop()


def test_without_any_champion_it_says_what_to_do(tmp_path: Path, settings: RegistrySettings) -> None:
    champions = mirror(tmp_path, settings)
    champions.follow()
    with pytest.raises(DetectorError, match="sightline train"):
        champions.require()
    champions.stop()


def test_old_bundles_and_killed_fetches_do_not_pile_up(tmp_path: Path, settings: RegistrySettings) -> None:
    champions = mirror(tmp_path, settings)
    killed, running = (tmp_path / "detectors" / "washer" / f".fetching-{name}" for name in ("killed", "running"))
    killed.mkdir(parents=True)
    running.mkdir()
    os.utime(killed, (0, 0))
    for threshold in (200.0, 199.0, 198.0, 197.0, 196.0):
        register(tmp_path, settings, threshold)
        champions.sync()
    folder = Path(read_pointer(tmp_path / "detectors" / CHAMPIONS)["washer"].folder)
    assert not killed.exists()
    assert len(list(folder.parent.iterdir())) == registry.KEPT_BUNDLES + len([running])
    assert in_force(tmp_path) == ("5", 196.0)


def test_a_damaged_pointer_file_is_written_anew(tmp_path: Path, settings: RegistrySettings) -> None:
    champions = mirror(tmp_path, settings)
    register(tmp_path, settings, 200.0)
    champions.sync()
    pointer = tmp_path / "detectors" / CHAMPIONS
    whole = pointer.read_bytes()
    pointer.write_bytes(whole[: len(whole) // 2])
    again = mirror(tmp_path, settings)
    again.follow()
    again.require()
    again.stop()
    assert pointer.read_bytes() == whole


def test_a_challenger_is_mirrored_apart_and_leaves_when_it_is_promoted(
    tmp_path: Path, settings: RegistrySettings
) -> None:
    champions, challengers = (
        mirror(tmp_path, settings),
        Mirror(tmp_path / "detectors", settings, "onnxruntime", alias=CHALLENGER),
    )
    register(tmp_path, settings, 200.0)
    register(tmp_path, settings, 180.0, alias="challenger")
    champions.sync()
    challengers.sync()
    beside = challenger(tmp_path)
    assert beside is not None
    assert (beside.version, in_force(tmp_path)) == ("2", ("1", 200.0))
    registry.set_champion("washer", "2", settings)
    champions.sync()
    challengers.sync()
    assert (challenger(tmp_path), in_force(tmp_path)) == (None, ("2", 180.0))


def test_a_detector_that_cannot_be_masked_is_refused(tmp_path: Path, settings: RegistrySettings) -> None:
    register(tmp_path, settings, 200.0)
    mask = View(key="[score.views.cam-1] ", mask=b"a PNG", mask_width=8, mask_height=8)
    champions = Mirror(tmp_path / "detectors", settings, "onnxruntime", views=[mask])
    champions.follow()
    with pytest.raises(DetectorError, match=r"no champion .*refused: .*\[score.views.cam-1\] mask cannot be applied"):
        champions.require()
    champions.stop()


def test_the_api_promotes_rolls_back_and_judges_with_what_the_registry_says(
    tmp_path: Path, settings: RegistrySettings
) -> None:
    for threshold in (200.0, 180.0):
        register(tmp_path, settings, threshold)
    catalogue = Catalogue(settings, tmp_path / "console", loaded=1, threads=1)

    def in_use() -> tuple[str, float]:
        found = catalogue.loaded("washer", "champion")
        return found.ref.version, found.card.threshold

    assert in_use() == ("2", 180.0)
    # the list that is read from the file is the one that MLflow's client gives
    assert listed(settings) == registry.entries(settings)
    assert catalogue.roll_back("washer").version == "1"
    assert in_use() == ("1", 200.0)
    assert catalogue.promote("washer", "2").version == "2"
    assert in_use() == ("2", 180.0)
    assert catalogue.card(catalogue.entry("washer", "1"))["threshold"] == 200.0
    catalogue.roll_back("washer")
    with pytest.raises(Problem, match="no other champion") as refused:
        catalogue.roll_back("washer")
    assert refused.value.status_code == 409
    catalogue.close()
