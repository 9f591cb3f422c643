"""A small deployment behind the API: real tables, a real detector, no broker and no MLflow."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.testclient import TestClient

from console.api import users
from console.api.alert_feed import AlertFeed
from console.api.app import create_app
from console.api.roles import Role
from console.api.services import Services, wire
from console.api.settings import ApiSettings, OidcSettings
from models.doubles import write_brightness_bundle
from models.registry import CHAMPION, NoFormerChampionError, RegisteredDetector, RegistryEntry
from models.run_files import RunFile
from models.runtime.card import bundle_digest, load_card, save_card
from sightline import samples
from sightline.contracts import Alert, OperatorAction, Verdict
from sightline.errors import BrokerError, RegistryError
from sightline.settings import KafkaSettings, RegistrySettings, TableSettings


@dataclass
class Sink:
    """Takes actions, or refuses while `away`."""

    taken: list[OperatorAction] = field(default_factory=list)
    away: bool = False

    def send(self, action: OperatorAction) -> None:
        if self.away:
            raise BrokerError("the broker is away")
        self.taken.append(action)


class Source:
    """Gives the alerts that were put in, then nothing."""

    def __init__(self, *alerts: Alert) -> None:
        self.waiting = list(alerts)

    def poll(self, seconds: float) -> list[Alert]:
        given, self.waiting = self.waiting, []
        return given

    def close(self) -> None:
        pass


class Registry:
    """Two versions of one product in a folder, version 1 as champion; `away` as MLflow is when it does not answer."""

    def __init__(self, folder: Path) -> None:
        self.bundles = {version: folder / version for version in ("1", "2")}
        self.champions = ["1"]
        self.away = False
        self.asked = 0
        for version, threshold in (("1", 200.0), ("2", 100.0)):
            write_brightness_bundle(self.bundles[version], threshold=threshold, review_threshold=threshold - 50)
            save_card(replace(load_card(self.bundles[version]), run_id=f"run-{version}"), self.bundles[version])

    def entries(self, settings: RegistrySettings) -> list[RegistryEntry]:
        self.asked += 1
        if self.away:
            raise RegistryError("the registry is away") from ConnectionError()
        created = datetime(2026, 3, 2, tzinfo=UTC)
        return [
            RegistryEntry(
                self._detector(version),
                (CHAMPION,) if version == self.champions[-1] else (),
                created,
                {"auroc": 0.97},
                {"method": "brightness"},
            )
            for version in ("2", "1")
        ]

    def set_champion(self, product: str, version: str, settings: RegistrySettings) -> RegisteredDetector:
        self.champions.append(version)
        return self._detector(version)

    def roll_back(self, product: str, settings: RegistrySettings) -> RegisteredDetector:
        if len(self.champions) < 2:
            raise NoFormerChampionError(f"{product} has had no other champion")
        self.champions.pop()
        return self._detector(self.champions[-1])

    def fetch(self, detector: RegisteredDetector, folder: Path, settings: RegistrySettings) -> Path:
        return self.bundles[detector.version]

    def _detector(self, version: str) -> RegisteredDetector:
        return RegisteredDetector("sightline.washer", "washer", version, bundle_digest(self.bundles[version]))


class Records:
    """The training run of every version: a plot, a report as a page, a table, and what the gate said of version 2."""

    held: ClassVar[dict[str, bytes]] = {
        "evaluation/roc.png": b"\x89PNG\r\n\x1a\n and more",
        "evaluation/report.html": b"<script>alert(1)</script>",
        "evaluation/fake.png": b"<svg onload='alert(1)'>",
        "evaluation/scores.csv": b"score\n0.5\n",
        "detector/detector.onnx": b"onnx",
    }

    def __init__(self) -> None:
        self.said: dict[str, str] = {}

    def tags(self, run_id: str, settings: RegistrySettings) -> dict[str, str]:
        return self.said

    def files(self, run_id: str, settings: RegistrySettings) -> list[RunFile]:
        return [RunFile(path, len(data)) for path, data in self.held.items()]

    def read(self, run_id: str, path: str, settings: RegistrySettings) -> bytes:
        return self.held[path]


RETRAIN = """
import sys, time
print("progress history 1 1", file=sys.stderr, flush=True)
print("learning from", *sys.argv[1:], file=sys.stderr, flush=True)
print("progress testing 3 10", file=sys.stderr, flush=True)
time.sleep(60 if "slow" in sys.argv[-1] else 0)
print('{"result": "refused", "why": ["f1 is below"], "challenger": "3"}')
sys.exit(3)
"""
"""Stands in for `sightline retrain`; the gate refuses what it made."""


DRIFT = {
    "camera": "cam-1", "product": "bottle_cap", "detector_version": "3", "detector_digest": "5f" * 32,
    "window_start": samples.START, "window_end": samples.START + timedelta(days=1), "measure": "score",
    "statistic": "psi", "frames": 900, "reference_frames": 900, "reference_start": samples.START,
    "reference_end": samples.START, "mean": 0.3, "reference_mean": 0.2, "value": 0.4, "watch": 0.1, "act": 0.25,
    "chance": 0.02, "status": "drift", "computed_at": samples.START, "day": samples.START.date(),
}  # fmt: skip


@dataclass(frozen=True)
class Deployment:
    """The application, and the parts that a test looks at or breaks."""

    app: FastAPI
    services: Services
    sink: Sink
    registry: Registry
    history: Any
    records: Records

    def key(self, role: Role) -> dict[str, str]:
        """Headers of a machine with this role."""
        return {"Authorization": f"Bearer {self.services.keys.create(f'test {role}', role, 1)[1]}"}

    def client(self, role: Role | None = None, **more: Any) -> TestClient:
        """A client with a key of this role, or with nothing."""
        return TestClient(self.app, headers=self.key(role) if role else {}, **more)


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2 as always, in little memory: 64 MiB and three rounds for each login would take most of the tests' time."""
    monkeypatch.setattr(users, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    users._nobodys_hash.cache_clear()


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tables lie that tests only read; the first test writes them."""
    return tmp_path_factory.mktemp("stored") / "tables"


@pytest.fixture
def deployment(tmp_path: Path, history, stored: Path) -> Deployment:
    """Three inspections of cam-1, one of them a defect, one of cam-2 a day later, and the alert of the defect."""
    shared = replace(history, settings=TableSettings(root=str(stored)))
    if not stored.exists():
        _fill(shared)
    return _deploy(tmp_path, shared, requests_a_minute=10**6, login_attempts=10**6)


def _fill(history: Any) -> None:
    defect = samples.inspection(sequence=1, score=0.9, verdict=Verdict.DEFECT, label="scratch")
    history.write(
        samples.inspection(sequence=0),
        defect,
        samples.inspection(sequence=2),
        samples.inspection(camera="cam-2", sequence=1_000_000),
        samples.alert(sequence=1),
        samples.camera_event(),
    )
    history.archive(defect)
    history.create("operator_actions", "shadow_inspections")
    history.rows("gold_drift", [DRIFT])


@pytest.fixture
def deploy(tmp_path: Path, history) -> Callable[..., Deployment]:
    """Makes a deployment with other settings than usual, over whatever tables there are."""
    return lambda **settings: _deploy(tmp_path, history, **settings)


def _deploy(tmp_path: Path, history: Any, **settings: Any) -> Deployment:
    sink, registry, records = Sink(), Registry(tmp_path / "bundles"), Records()
    services = wire(
        ApiSettings(folder=tmp_path / "console", threads=1, **settings),
        OidcSettings(),
        kafka=KafkaSettings(bootstrap="127.0.0.1:1"),
        tables=TableSettings(root=history.settings.root),
        registry=RegistrySettings(poll_seconds=60),
        sink=sink,
        feed=AlertFeed(Source),
        detectors=registry,
        records=records,
        retrain=(sys.executable, "-c", RETRAIN),
    )
    return Deployment(create_app(services), services, sink, registry, history, records)


@pytest.fixture
def jpeg() -> Callable[..., bytes]:
    """Plain grey pictures of height × width; the test detector's score is their brightness."""

    def make(brightness: int, size: tuple[int, int] = (96, 128)) -> bytes:
        image = np.full((*size, 3), brightness, np.uint8)
        return bytes(cv2.imencode(".jpg", image)[1].tobytes())

    return make
