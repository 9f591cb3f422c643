"""From a folder to a registered detector and back, on a real MLflow store."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from models import registry
from models.calibrate import Rates
from models.commands import app
from models.dataset import load_images
from models.features import FeatureSettings
from models.fitting import Recipe
from models.preparation import Variation
from models.quantise import quantise
from models.registry import RegisteredDetector
from models.runtime.card import (
    BUNDLE_FILES,
    CARD_FILE,
    GRAPH_FILE,
    LATENCY_BUDGET_MS,
    SELF_TEST_FILE,
    bundle_digest,
    load_card,
    save_card,
)
from models.runtime.decode import decode
from models.runtime.scorer import load_scorer
from models.runtime.self_test import load_self_test
from models.train import Trained, train
from sightline.errors import DetectorError, RegistryError
from sightline.settings import RegistrySettings
from streaming import trial

SMALL = Recipe(method="padim", features=FeatureSettings(input_size=64, dimensions=24))


def write_part(path: Path, seed: int, *, scratched: bool = False) -> None:
    """A bright disc on grey, 96×80, with light and noise that vary; a dark stroke across it when scratched."""
    rng = np.random.default_rng(seed)
    image = np.full((80, 96, 3), 90.0)
    cv2.circle(image, (48, 40), 28, (170, 170, 170), -1)
    if scratched:
        cv2.line(image, (36, 34), (58, 44), (20, 20, 20), 4)
    image = image * rng.uniform(0.9, 1.1) + rng.normal(0, 4, image.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.clip(image, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parts")
    for number in range(30):
        write_part(root / "train" / "good" / f"{number:02}.jpg", number)
    for number in range(8):
        write_part(root / "test" / "good" / f"{number}.jpg", 100 + number)
        write_part(root / "test" / "scratch" / f"{number}.jpg", 200 + number, scratched=True)
    return root


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> RegistrySettings:
    folder = tmp_path_factory.mktemp("mlflow")
    return RegistrySettings(tracking_uri=f"sqlite:///{folder / 'deep' / 'mlflow.db'}")


@pytest.fixture(scope="module")
def trained(data: Path, settings: RegistrySettings) -> Trained:
    return train(data, "disc", settings, recipe=SMALL)


@pytest.fixture(scope="module")
def detector(trained: Trained) -> RegisteredDetector:
    assert trained.registered
    return trained.registered


def test_a_trained_detector_tells_scratched_from_good(trained: Trained) -> None:
    assert trained.card.metrics["image_auroc"] == 1.0
    assert trained.card.metrics["f1"] > 0.9
    assert trained.card.calibration["held_out_frames"] == 30
    assert trained.card.threshold > trained.card.review_threshold


def test_the_champion_can_be_fetched_and_judges_frames(
    detector: RegisteredDetector, settings: RegistrySettings, data: Path, tmp_path: Path
) -> None:
    champion = registry.champions(settings)["disc"]
    assert champion == detector
    folder = registry.fetch(champion, tmp_path / "disc" / champion.digest, settings)
    scorer = load_scorer(folder)
    assert bundle_digest(folder) == champion.digest
    assert scorer.card.run_id
    scores = [
        scorer.score(decode((data / "test" / name).read_bytes(), 64, 64).image[None]).scores[0]
        for name in ("good/0.jpg", "scratch/0.jpg")
    ]
    assert scores[0] < scorer.card.threshold <= scores[1]


# MLflow's own, when its module for serving is imported
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")
def test_mlflow_s_own_serving_gives_the_answer_of_the_scorer(
    detector: RegisteredDetector,
    settings: RegistrySettings,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import pandas as pd
    from mlflow import pyfunc

    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri)
    jpegs = [(data / "test" / name).read_bytes() for name in ("good/0.jpg", "scratch/0.jpg")]
    served = pyfunc.load_model(f"models:/{detector.name}/{detector.version}")
    good, broken, scratched = served.predict(pd.DataFrame({"image": [jpegs[0], b"no picture", jpegs[1]]}))
    scorer = load_scorer(registry.fetch(detector, tmp_path / "here", settings))
    alone = [scorer.score(decode(jpeg, 64, 64).image[None]).scores[0] for jpeg in jpegs]
    assert [good["score"], scratched["score"]] == pytest.approx(alone, rel=1e-5)
    assert (good["verdict"] == "defect", scratched["verdict"]) == (False, "defect")
    assert scratched["regions"]
    assert "JPEG" in broken["error"]
    assert bundle_digest(tmp_path / "here") == detector.digest


def test_a_fetched_detector_judges_its_own_self_test_as_when_it_was_made(
    detector: RegisteredDetector, settings: RegistrySettings, tmp_path: Path
) -> None:
    folder = registry.fetch(detector, tmp_path / "here", settings)
    card = load_card(folder)
    found = load_self_test(folder, card)
    kinds = [(Path(example.name).parts[1], example.verdict.value) for example in found]
    assert kinds[-2:] == [("scratch", "defect"), ("scratch", "defect")]
    assert {kind for kind, _ in kinds[:-2]} == {"good"}
    assert card.latency_budget_ms == LATENCY_BUDGET_MS
    assert {path.name for path in folder.iterdir()} == set(BUNDLE_FILES)
    assert (folder / SELF_TEST_FILE).stat().st_size < 50_000
    for backend in ("openvino", "onnxruntime", "torch"):
        assert trial.main(str(folder), backend, "fp32") == 0


def test_fetching_twice_downloads_once(
    detector: RegisteredDetector, settings: RegistrySettings, tmp_path: Path
) -> None:
    folder = registry.fetch(detector, tmp_path / "here", settings)
    stamp = (folder / GRAPH_FILE).stat().st_mtime_ns
    assert registry.fetch(detector, tmp_path / "here", settings) == folder
    assert (folder / GRAPH_FILE).stat().st_mtime_ns == stamp
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_a_damaged_copy_is_fetched_anew(
    detector: RegisteredDetector, settings: RegistrySettings, tmp_path: Path
) -> None:
    folder = registry.fetch(detector, tmp_path / "here", settings)
    (folder / GRAPH_FILE).unlink()
    assert bundle_digest(registry.fetch(detector, folder, settings)) == detector.digest


def test_an_artifact_that_was_changed_is_refused_and_leaves_nothing(
    trained: Trained, settings: RegistrySettings, tmp_path: Path, bundle_of: Callable[[RegisteredDetector], Path]
) -> None:
    source = bundle_of(registry.log_and_register(_copy(trained, settings, tmp_path), settings, metrics={}, params={}))
    changed = registry.champions(settings)["disc"]
    card = source / CARD_FILE
    card.write_text(card.read_text().replace('"method": "padim"', '"method": "PADIM"'))
    with pytest.raises(DetectorError, match="changed or damaged"):
        registry.fetch(changed, tmp_path / "there", settings)
    assert not (tmp_path / "there").exists()
    assert not list(tmp_path.glob(".fetching-*"))
    assert trained.registered
    registry.set_champion("disc", trained.registered.version, settings)


@pytest.fixture
def bundle_of(settings: RegistrySettings) -> Callable[[RegisteredDetector], Path]:
    """Where the registry keeps the files of a version."""

    def find(detector: RegisteredDetector) -> Path:
        root = Path(settings.tracking_uri.removeprefix("sqlite:///")).parent / "artifacts"
        return next(path.parent for path in root.rglob(CARD_FILE) if bundle_digest(path.parent) == detector.digest)

    return find


def _copy(trained: Trained, settings: RegistrySettings, tmp_path: Path) -> Path:
    assert trained.registered
    return registry.fetch(trained.registered, tmp_path / "copy", settings)


def test_a_second_version_leaves_the_champion_until_it_is_promoted(
    trained: Trained, detector: RegisteredDetector, settings: RegistrySettings, tmp_path: Path
) -> None:
    challenger = registry.register_bundle(_copy(trained, settings, tmp_path), settings)
    assert int(challenger.version) > int(detector.version)
    assert registry.champions(settings)["disc"] == detector
    registry.set_champion("disc", challenger.version, settings)
    assert registry.champions(settings)["disc"] == challenger
    registry.set_champion("disc", detector.version, settings)


def test_the_way_back_is_the_champion_before(
    trained: Trained, detector: RegisteredDetector, settings: RegistrySettings, tmp_path: Path
) -> None:
    later = [registry.register_bundle(_copy(trained, settings, tmp_path / str(n)), settings) for n in range(2)]
    for challenger in later:
        registry.set_champion("disc", challenger.version, settings)
        # clicking twice changes nothing
        registry.set_champion("disc", challenger.version, settings)
    assert registry.roll_back("disc", settings) == later[0]
    assert registry.roll_back("disc", settings) == detector
    assert registry.champions(settings)["disc"] == detector


def test_without_an_earlier_champion_there_is_no_way_back(
    trained: Trained, settings: RegistrySettings, tmp_path: Path
) -> None:
    own = settings.model_copy(update={"model_prefix": "other."})
    with pytest.raises(RegistryError, match=r"other\.disc.*not found"):
        registry.roll_back("disc", own)
    folder = _copy(trained, settings, tmp_path)
    card = load_card(folder)
    save_card(replace(card, name="other.disc"), folder)
    registry.register_bundle(folder, own, alias="champion")
    with pytest.raises(RegistryError, match="disc has had no other champion"):
        registry.roll_back("disc", own)


def test_an_unknown_version_and_a_dead_server_are_named(settings: RegistrySettings, trained: Trained) -> None:
    with pytest.raises(RegistryError, match=r"version=99\) not found.*sightline detectors"):
        registry.set_champion("disc", "99", settings)
    away = RegistrySettings(tracking_uri="http://user:secret@127.0.0.1:9")
    with pytest.raises(RegistryError, match=r"registry http://\*\*\*@127\.0\.0\.1:9.*tracking_uri") as caught:
        registry.champions(away)
    assert "secret" not in str(caught.value)


def test_a_product_that_cannot_name_a_folder_is_refused(data: Path, settings: RegistrySettings) -> None:
    with pytest.raises(DetectorError, match=r"product is '\.\./disc'"):
        train(data, "../disc", settings)


def test_the_commands_list_and_promote(
    detector: RegisteredDetector, settings: RegistrySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_REGISTRY_TRACKING_URI", settings.tracking_uri)
    listed = CliRunner().invoke(app, ["detectors", "--json"])
    rows = {row["version"]: row for row in json.loads(listed.stdout)}
    assert rows[detector.version]["aliases"] == ["champion"]
    assert rows[detector.version]["metrics"]["image_auroc"] == 1.0
    promoted = CliRunner().invoke(app, ["promote", "disc", detector.version])
    assert f"version {detector.version} is the champion of disc" in promoted.stdout


def test_a_version_that_is_worse_is_refused_at_the_gate(
    data: Path, detector: RegisteredDetector, settings: RegistrySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_REGISTRY_TRACKING_URI", settings.tracking_uri)
    # a threshold that calls a third of the good frames defective
    hasty = replace(SMALL, rates=Rates(false_alarm=0.3, review=0.4))
    worse = train(data, "disc", settings, recipe=hasty, alias="challenger").registered
    assert worse
    gate = ["--data", str(data), "--slower", "0.9"]
    refused = CliRunner().invoke(app, ["promote", "disc", worse.version, *gate])
    assert refused.exit_code == 1
    assert "f1" in refused.stderr
    assert registry.champions(settings)["disc"] == detector
    passed = CliRunner().invoke(app, ["promote", "disc", detector.version, *gate])
    assert passed.exit_code == 0, passed.output
    assert "passes: AUROC 1.000" in passed.stdout
    rows = json.loads(CliRunner().invoke(app, ["compare", "disc", "--json"]).stdout)
    assert {row["version"]: row["aliases"] for row in rows}[worse.version] == ["challenger"]
    # by hand it can still be put in charge, and is no challenger any more
    registry.set_champion("disc", worse.version, settings)
    assert {entry.detector.version: entry.aliases for entry in registry.entries(settings)}[worse.version] == (
        "champion",
    )
    registry.roll_back("disc", settings)


def test_the_train_command_says_what_came_out(
    data: Path, tmp_path: Path, settings: RegistrySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_REGISTRY_TRACKING_URI", settings.tracking_uri)
    asked = ["train", str(data), "--product", "disc2", "--input-size", "64", "--output", str(tmp_path / "bundle")]
    asked += ["--latency-budget", "70"]
    result = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert "sightline.disc2 version 1 is the champion" in result.stdout
    assert "AUROC 1.000" in result.stdout
    card = load_card(tmp_path / "bundle")
    assert (card.product, card.latency_budget_ms) == ("disc2", 70.0)


def test_accuracy_on_real_parts(shared_data: Path, settings: RegistrySettings) -> None:
    # the variants are given: trying them takes half a minute, and test_fitting does
    recipe = Recipe(variation=Variation.NONE)
    found = train(shared_data / "cookies", "cookies", settings, recipe=recipe, register=False)
    assert found.card.metrics["image_auroc"] >= 0.95
    assert found.card.metrics["false_alarm_rate"] <= 0.07


def test_an_int8_form_is_registered_beside_its_float_one(
    detector: RegisteredDetector,
    settings: RegistrySettings,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIGHTLINE_REGISTRY_TRACKING_URI", settings.tracking_uri)
    asked = ["quantise", "disc", str(data), "--output", str(tmp_path), "--threads", "1", "--max-loss", "0.1"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "is the challenger: padim in INT8" in done.output
    card = load_card(tmp_path)
    assert card.parameters["precision"] == "int8"
    assert registry.champions(settings)["disc"] == detector
    pictures = load_images(sorted((data / "test").rglob("*.jpg"))[:6], 64, 64)
    openvino, onnxruntime = (load_scorer(tmp_path, backend).score(pictures) for backend in ("openvino", "onnxruntime"))
    np.testing.assert_allclose(openvino.scores, onnxruntime.scores, atol=0.1 * card.threshold)
    assert len(load_self_test(tmp_path, card)) > 2
    assert trial.main(str(tmp_path), "onnxruntime", "fp32") == 0
    with pytest.raises(DetectorError, match="PyTorch does not compute"):
        load_scorer(tmp_path, "torch")
    with pytest.raises(DetectorError, match="is quantised already"):
        quantise(tmp_path, data, tmp_path / "again", settings)
    for number in range(10):
        write_part(tmp_path / "others" / f"{number}.jpg", 500 + number)
    fetched = registry.fetch(detector, tmp_path / "float", settings)
    with pytest.raises(DetectorError, match=r"are not those that sightline\.disc learnt from"):
        quantise(fetched, tmp_path / "others", tmp_path / "again", settings)
