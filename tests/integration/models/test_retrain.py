"""The loop on a real history and a real registry: answers become a challenger, judged and registered by policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pyspark.sql import SparkSession

from models import registry
from models import retrain as loop
from models.features import FeatureSettings
from models.fitting import Recipe
from models.retrain import Result, RetrainOptions, RetrainPolicy, retrain
from models.train import train
from sightline import samples
from sightline.contracts import ActionKind
from sightline.errors import RegistryError, SourceError, TableError
from sightline.retraining import HistoryAnswer, HistoryRequest
from sightline.settings import RegistrySettings, TableSettings
from streaming.retrain_set import answer
from streaming.tables import TABLES, create_table

SMALL = Recipe(method="padim", features=FeatureSettings(input_size=64, dimensions=24), alignment="off")


def part(seed: int, *, scratched: bool = False) -> bytes:
    """A bright disc on grey, a dark stroke across it when scratched."""
    rng = np.random.default_rng(seed)
    image = np.full((80, 96, 3), 90.0)
    cv2.circle(image, (48, 40), 28, (170, 170, 170), -1)
    if scratched:
        cv2.line(image, (36, 34), (58, 44), (20, 20, 20), 4)
    image = image * rng.uniform(0.9, 1.1) + rng.normal(0, 4, image.shape)
    return bytes(cv2.imencode(".jpg", np.clip(image, 0, 255).astype(np.uint8))[1])


# two trainings and a Spark session
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> RegistrySettings:
    """A registry with a champion of `disc`."""
    folder = tmp_path_factory.mktemp("champion")
    for number in range(20):
        (folder / f"{number:02}.jpg").write_bytes(part(number))
    settings = RegistrySettings(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    train(folder, "disc", settings, recipe=SMALL, threads=1)
    return settings


@pytest.fixture(scope="module")
def ask(
    spark: SparkSession, settings: RegistrySettings, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """Asks a history of 60 frames after the champion's training: 45 good, 5 false alarms, 5 confirmed, 5 missed."""
    tables = TableSettings(root=str(tmp_path_factory.mktemp("tables")))
    start = registry.entries(settings)[0].created_at + timedelta(seconds=1)
    rows: dict[str, list[dict[str, Any]]] = {"frame_archive": [], "alerts": [], "operator_actions": []}
    for number in range(60):
        at = start + timedelta(seconds=3 * number)
        kind = {1: "false alarm", 5: "confirmed", 9: "missed"}.get(number % 12, "good")
        alarmed = kind in ("false alarm", "confirmed")
        rows["frame_archive"].append(
            {
                "inspection_id": f"i{number}",
                "camera": "cam-1",
                "sequence": number,
                "captured_at": at,
                "product": "disc",
                "label": "scratch" if kind == "missed" else None,
                "verdict": "defect" if alarmed else "ok",
                "jpeg": part(100 + number, scratched=kind in ("confirmed", "missed")),
            }
        )
        if alarmed:
            alert = replace(
                samples.alert(),
                alert_id=f"a{number}",
                first_sequence=number,
                last_sequence=number,
                opened_at=at,
                updated_at=at,
            )
            said = ActionKind.CONFIRM if kind == "confirmed" else ActionKind.FALSE_ALARM
            action = replace(samples.operator_action(), action_id=f"x{number}", alert_id=f"a{number}", kind=said, at=at)
            rows["alerts"].append(asdict(alert))
            rows["operator_actions"].append(asdict(action))
    for name, of_table in rows.items():
        table = TABLES[name]
        path = create_table(spark, table, tables)
        full = [{field: row.get(field) for field in table.schema.names} for row in of_table]
        for row in full:
            row["day"] = row[table.event_time].date()
        spark.createDataFrame(full, table.schema).write.format("delta").mode("append").save(path)

    def asked(request: HistoryRequest) -> HistoryAnswer:
        return answer(spark, tables, request)

    return asked


@pytest.fixture(autouse=True)
def _in_this_process(ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The history is asked in the tests' own Spark: another JVM would take the longest of all."""
    monkeypatch.setattr(loop, "ask_process", ask)


def test_answers_become_a_challenger_and_a_policy_decides(settings: RegistrySettings) -> None:
    proposed = retrain("disc", settings, RetrainOptions(threads=1, gate=loop.Policy(tolerance=1.0, slower=1.0)))
    assert proposed.result is Result.PROPOSED, proposed.why
    assert (proposed.champion, proposed.challenger, proposed.method) == ("1", "2", "padim")
    assert (proposed.new_frames, proposed.new_answers) == (60, 10)
    # defects are never learnt from; false alarms may be, and are then counted apart
    assert (proposed.held_out["confirmed"].frames, proposed.held_out["miss"].frames) == (5, 5)
    assert not {"confirmed", "miss"} & set(proposed.learnt)
    told = [
        tallies["false-alarm"].frames for tallies in (proposed.held_out, proposed.learnt) if "false-alarm" in tallies
    ]
    assert sum(told) == 5
    found = {entry.detector.version: entry for entry in registry.entries(settings)}
    assert found["2"].aliases == ("challenger",)
    assert found["1"].aliases == ("champion",)
    assert found["2"].metrics["retraining/held_out/miss/frames"] == 5
    assert found["2"].metrics["retraining/challenger/image_auroc"] == proposed.metrics["challenger/image_auroc"]

    # a limit that nothing keeps to: the gate refuses, and no policy overrules it
    strict = loop.Policy(most_ms=1e-6)
    refused = retrain("disc", settings, RetrainOptions(policy=RetrainPolicy.PROMOTE, threads=1, gate=strict))
    assert refused.result is Result.REFUSED
    assert any("allowed are" in reason for reason in refused.why)
    aliases = {entry.detector.version: entry.aliases for entry in registry.entries(settings)}
    assert aliases == {"1": ("champion",), "2": ("challenger",), "3": ()}


def test_a_champion_that_nobody_compared_it_with_keeps_its_place(
    settings: RegistrySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {entry.detector.version: entry.aliases for entry in registry.entries(settings)}
    (judged,) = [version for version, aliases in versions.items() if registry.CHAMPION in aliases]
    other = registry.register_bundle(
        registry.fetch(registry.find("disc", settings), tmp_path / "again", settings), settings
    ).version
    ask = loop.ask_process

    def promoted_meanwhile(request: HistoryRequest) -> HistoryAnswer:
        registry.set_champion("disc", other, settings)
        return ask(request)

    monkeypatch.setattr(loop, "ask_process", promoted_meanwhile)
    gate = loop.Policy(tolerance=1.0, slower=1.0)
    outcome = retrain("disc", settings, RetrainOptions(policy=RetrainPolicy.PROMOTE, threads=1, gate=gate))
    registry.set_champion("disc", judged, settings)
    assert (outcome.result, outcome.champion) == (Result.PROPOSED, judged)
    assert any(f"meanwhile version {other} became champion" in reason for reason in outcome.why)
    found = {entry.detector.version: entry.aliases for entry in registry.entries(settings)}
    assert found[outcome.challenger] == ("challenger",)


def test_without_a_reason_nothing_is_trained(settings: RegistrySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TableError, match="run `sightline drift` first"):
        retrain("disc", settings, RetrainOptions(if_drifted=True))
    ask = loop.ask_process
    later = timedelta(days=400)
    monkeypatch.setattr(loop, "ask_process", lambda request: ask(replace(request, since=request.since + later)))
    before = len(registry.entries(settings))
    outcome = retrain("disc", settings, RetrainOptions())
    assert (outcome.result, outcome.challenger) == (Result.NOTHING_NEW, None)
    assert len(registry.entries(settings)) == before


def test_what_cannot_be_retrained_is_refused_with_the_remedy(settings: RegistrySettings) -> None:
    with pytest.raises(RegistryError, match="no champion to retrain: train a first one"):
        retrain("lid", settings, RetrainOptions())
    # one part is all of it: nothing could be held out
    with pytest.raises(SourceError, match="of 1 parts"):
        retrain("disc", settings, RetrainOptions(gap_seconds=60))


def test_the_process_says_why_there_is_no_history(
    settings: RegistrySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("SIGHTLINE_TABLES_ROOT", str(tmp_path))
    with pytest.raises(SourceError, match=r"there is no table at .*sightline history"):
        retrain("disc", settings, RetrainOptions())
