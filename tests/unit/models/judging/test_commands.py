from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from models import registry
from models.judging import tracking
from models.judging.commands import app
from models.judging.judgement import Judgement
from models.registry import RegisteredDetector, RegistryEntry
from models.runtime.card import load_card
from models.runtime.scorer import load_scorer
from models.runtime.self_test import encoded, judged, load_self_test, save_self_test
from sightline.errors import DetectorError, RegistryError, SourceError
from sightline.settings import RegistrySettings
from streaming import trial


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_bundle_is_judged_and_its_report_written(bright: Path, parts: Path, tmp_path: Path) -> None:
    answer = evaluate(bright, parts, "--report", tmp_path / "out", "--json")
    assert answer.exit_code == 0, answer.output
    numbers = json.loads(answer.stdout)
    assert numbers["metrics"]["true_positives"] == 2
    assert numbers["thresholds"]["threshold"] == 200.0
    assert (tmp_path / "out" / "report.html").is_file()
    assert f"sightline evaluate {bright} {parts}" in numbers["command"]


def test_the_command_in_the_report_gives_the_same_numbers(bright: Path, parts: Path) -> None:
    costs = ("--threshold-by", "cost", "--miss-cost", 20, "--false-alarm-cost", 1, "--defect-share", 0.1)
    first = json.loads(evaluate(bright, parts, *costs, "--json").stdout)
    again = json.loads(evaluate(*first["command"].split()[2:], "--json").stdout)
    assert again["thresholds"] == first["thresholds"]
    assert again["metrics"] == first["metrics"]


def test_a_saved_bundle_judges_by_the_new_threshold_and_the_old_one_stays(
    bright: Path, parts: Path, tmp_path: Path
) -> None:
    before = load_card(bright)
    answer = evaluate(bright, parts, "--threshold-by", "f1", "--save", tmp_path / "new")
    assert answer.exit_code == 0, answer.output
    card = load_scorer(tmp_path / "new").card
    assert card.calibration["method"] == "f1-optimal"
    assert card.threshold < before.threshold
    assert load_card(bright) == before


def test_a_saved_bundle_passes_its_self_test_under_the_new_threshold(bright: Path, parts: Path, tmp_path: Path) -> None:
    scorer = load_scorer(bright, "onnxruntime")
    pictures = {str(grey): encoded(np.full((64, 64, 3), grey, np.uint8)) for grey in (40, 195)}
    folder = Path(shutil.copytree(bright, tmp_path / "old"))
    save_self_test([judged(scorer, name, jpeg) for name, jpeg in pictures.items()], scorer.card, folder)
    before = load_self_test(folder, load_card(folder))
    assert [example.verdict.value for example in before] == ["ok", "review"]
    evaluate(folder, parts, "--threshold-by", "f1", "--save", tmp_path / "new")
    after = load_self_test(tmp_path / "new", load_card(tmp_path / "new"))
    assert [(example.name, example.verdict.value) for example in after] == [("40", "ok"), ("195", "defect")]
    assert trial.main(str(tmp_path / "new"), "onnxruntime", "fp32") == 0


@pytest.mark.parametrize(
    "options",
    [
        ("--miss-cost", "3"),
        ("--threshold-by", "cost", "--miss-cost", "3"),
        ("--threshold-by", "f1", "--defect-share", "0.1"),
    ],
)
def test_costs_go_with_the_rule_that_needs_them(bright: Path, parts: Path, options: tuple[str, ...]) -> None:
    answer = evaluate(bright, parts, *options)
    assert answer.exit_code == 2
    assert "cost" in answer.stderr


def test_a_precision_that_a_runtime_does_not_compute_in_is_refused_and_the_used_one_is_told(
    bright: Path, parts: Path
) -> None:
    refused = evaluate(bright, parts, "--precision", "fp16").exception
    assert isinstance(refused, DetectorError)
    assert "openvino does not compute in fp16, only in fp32 or bf16" in str(refused)
    told = json.loads(evaluate(bright, parts, "--precision", "fp32", "--json").stdout)
    assert told["precision"] == "fp32"
    assert "--precision fp32" in told["command"]


def test_what_is_missing_is_named(bright: Path, parts: Path, tmp_path: Path) -> None:
    assert isinstance(evaluate(tmp_path / "none", parts).exception, DetectorError)
    assert isinstance(evaluate(bright, tmp_path / "none").exception, SourceError)


def entry(version: str, *aliases: str, product: str = "cap") -> RegistryEntry:
    detector = RegisteredDetector(f"sightline.{product}", product, version, "d" * 64)
    return RegistryEntry(detector, aliases, datetime(2026, 1, 1, tzinfo=UTC), {}, {})


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RegistrySettings:
    """A registry with three versions of one product and one of another."""
    known = [entry("3", "challenger"), entry("2", "champion"), entry("1"), entry("9", "champion", product="lid")]
    monkeypatch.setattr(registry, "entries", lambda settings: known)
    return RegistrySettings(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.mark.parametrize(
    ("target", "version"), [("cap", "2"), ("cap@1", "1"), ("cap@challenger", "3"), ("cap@champion", "2"), ("lid", "9")]
)
def test_a_product_names_its_champion_a_version_or_an_alias(
    settings: RegistrySettings, target: str, version: str
) -> None:
    assert tracking.find(target, settings).version == version


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("cap@7", "no detector cap@7: there are cap@3, cap@challenger, cap@2"),
        ("bolt", "no detector bolt@champion: none is registered for 'bolt'"),
    ],
)
def test_a_detector_that_is_not_there_says_which_are(settings: RegistrySettings, target: str, message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        tracking.find(target, settings)


def test_a_judgement_is_logged_beside_the_metrics_of_training(
    settings: RegistrySettings, judged: Judgement, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    logged: dict[str, Any] = {}

    def record(
        run_id: str, folder: Path, settings: RegistrySettings, *, metrics: Mapping[str, float], artifact_path: str
    ) -> None:
        logged.update(run_id=run_id, folder=folder, metrics=metrics, artifact_path=artifact_path)

    writer: Callable[..., None] = record
    monkeypatch.setattr(registry, "add_to_run", writer)
    trained = replace(judged, card=replace(judged.card, run_id="abc"))
    place = tracking.log(trained, tmp_path, settings)
    assert (logged["run_id"], logged["folder"], logged["artifact_path"]) == ("abc", tmp_path, place)
    assert logged["metrics"]["evaluated/image_auroc"] == judged.metrics["image_auroc"]
    assert all(name.startswith("evaluated/") for name in logged["metrics"])
    with pytest.raises(RegistryError, match="no training run"):
        tracking.log(judged, tmp_path, settings)
