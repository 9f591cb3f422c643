"""The console in a real browser: Debian's Chromium against a server in this process, without broker or Spark."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import uvicorn
from argon2 import PasswordHasher

from console.api import users
from console.api.alert_feed import AlertFeed
from console.api.app import create_app
from console.api.roles import Role
from console.api.services import Services, wire
from console.api.settings import ApiSettings, OidcSettings
from console.web.floor import Picture, Seen
from console.web.floor_feed import FloorFeed
from console.web.site import routers
from sightline import samples
from sightline.contracts import Alert, HeatMap, OperatorAction, Severity, SourceOffset, Verdict
from sightline.errors import BrokerError
from sightline.settings import KafkaSettings, RegistrySettings

PASSWORD = "seven grey gaskets"
PATIENCE_MS = 60_000
"""How long a page may take for what takes a moment; the machine of the checks is slow."""


class Line:
    """Stands for the broker: alerts, verdicts, pictures and actions that a test puts in, and those that were sent."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self.told: list[Any] = []
        self.pictures: list[Picture] = []
        self.taken: list[OperatorAction] = []
        self.away = False

    def send(self, action: OperatorAction) -> None:
        if self.away:
            raise BrokerError("the broker did not take the action; nothing was recorded, try again")
        self.taken.append(action)
        self.told.append(action)

    def source(self) -> _Source:
        return _Source(self)


@dataclass
class _Source:
    line: Line

    def poll(self, seconds: float) -> list[Any]:
        return self._given("alerts")

    def close(self) -> None:
        pass

    def _given(self, name: str) -> list[Any]:
        given: list[Any] = getattr(self.line, name)
        if not given:
            time.sleep(0.02)
        setattr(self.line, name, given[(count := len(given)) :])
        return given[:count]


class _Topics(_Source):
    def poll(self, seconds: float) -> list[Any]:
        if self.line.away:
            raise BrokerError("the Kafka broker does not answer; start it, or wait")
        return self._given("told")


class _Cameras(_Source):
    def sample(self, cameras: int) -> list[Any]:
        return self._given("pictures")


@dataclass
class Hall:
    """A running console. `line` stands for the broker, `url` is where it answers."""

    url: str
    services: Services
    line: Line
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def alert(self, camera: str = "cam-1", sequence: int = 1, *, age: float = 60, **changes: Any) -> Alert:
        """An incident of some seconds ago arrives on the topic."""
        opened = self.at - timedelta(seconds=age)
        found = replace(samples.alert(camera, sequence), opened_at=opened, updated_at=opened, thumbnail=PICTURE)
        found = replace(found, **{"severity": Severity.WARNING, **changes})
        self.line.alerts.append(found)
        return found

    def verdict(self, camera: str, sequence: int, verdict: Verdict = Verdict.OK, *, age: float = 0) -> None:
        """An inspection arrives on the topic."""
        captured = datetime.now(UTC) - timedelta(seconds=age)
        heat = msgspec.Raw(msgspec.json.encode(HEAT))
        score = 0.9 if verdict is Verdict.DEFECT else 0.2
        source = SourceOffset(topic="frames", partition=0, offset=sequence)
        self.line.told.append(
            Seen("ab" * 16, "line-a", camera, sequence, captured, "bottle_cap", score, 0.62, verdict, heat, source)
        )

    def picture(self, camera: str, sequence: int) -> None:
        """A frame stands at the end of its topic."""
        picture = Picture(camera=camera, sequence=sequence, captured_at=datetime.now(UTC), jpeg=PICTURE)
        self.line.pictures.append(picture)


def _picture() -> bytes:
    image = np.full((120, 160, 3), 90, np.uint8)
    cv2.circle(image, (80, 60), 40, (40, 60, 200), -1)
    return bytes(cv2.imencode(".jpg", image)[1].tobytes())


PICTURE = _picture()
HEAT = HeatMap(rows=2, cols=3, scale=1.0, values=bytes([4, 9, 30, 12, 210, 44]))


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    users._nobodys_hash.cache_clear()


@pytest.fixture
def start(tmp_path: Path, history: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Hall]]:
    """Starts a console over the tables of `history`: operators `anna` and `ben`, viewer `vic`, engineer `erik`."""
    monkeypatch.setattr("console.api.alert_feed._POLL_SECONDS", 0.02)
    monkeypatch.setattr("console.following.RETRY_SECONDS", 0.2)
    servers: list[tuple[uvicorn.Server, threading.Thread]] = []

    def begin(*, empty: bool = False, **parts: Any) -> Hall:
        line = Line()
        services = wire(
            ApiSettings(folder=tmp_path / "console", login_attempts=1000),
            OidcSettings(),
            kafka=KafkaSettings(bootstrap="127.0.0.1:1"),
            tables=history.settings,
            registry=RegistrySettings(tracking_uri=f"sqlite:///{tmp_path}/none.db"),
            sink=line,
            feed=AlertFeed(line.source),
            **parts,
        )
        if not empty:
            people = {"anna": Role.OPERATOR, "ben": Role.OPERATOR, "vic": Role.VIEWER, "erik": Role.ENGINEER}
            for name, role in people.items():
                services.users.add(name, role, PASSWORD)
        feed = FloorFeed(lambda: _Topics(line), lambda: _Cameras(line))
        app = create_app(services, routers(feed))
        config = uvicorn.Config(app, port=0, log_config=None, ws="none", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        servers.append((server, thread))
        port = server.servers[0].sockets[0].getsockname()[1]
        return Hall(f"http://127.0.0.1:{port}", services, line)

    yield begin
    for server, thread in servers:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Debian's browser, without a window."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no Chromium on the PATH; apt-get install chromium, or name one in CHROMIUM")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visitor:
    """One person's browser; what it complained of, what it asked for elsewhere and what it loaded is noted."""

    def __init__(self, browser: Any, hall: Hall, *, width: int = 1440, height: int = 900, theme: str = "dark") -> None:
        self.hall = hall
        self.context = browser.new_context(viewport={"width": width, "height": height}, has_touch=width < 1000)
        self.context.set_default_timeout(PATIENCE_MS)
        if theme != "dark":
            self.context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        self.weights: dict[str, int] = {}
        self.page.on("console", lambda said: said.type == "error" and self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.context.on("request", self._asked)
        self.page.on("response", self._answered)

    def log_in(self, name: str = "anna", path: str = "/") -> Any:
        """Through the form, to the page that was asked for."""
        self.page.goto(self.hall.url + path)
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url(self.hall.url + path)
        return self.page

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(self.hall.url + "/"):
            self.elsewhere.append(request.url)

    def _answered(self, response: Any) -> None:
        if response.request.resource_type in ("document", "script", "stylesheet"):
            self.weights[response.url] = int(response.headers.get("content-length", 0))


@pytest.fixture
def visitor(chromium: Any) -> Iterator[Callable[..., Visitor]]:
    """Opens a browser of its own for each who visits."""
    visitors: list[Visitor] = []

    def open_one(hall: Hall, **more: Any) -> Visitor:
        visitors.append(Visitor(chromium, hall, **more))
        return visitors[-1]

    yield open_one
    for one in visitors:
        one.context.close()
        assert not one.elsewhere, "a page asked another host"
