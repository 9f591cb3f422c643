"""The scripts of `examples/` do what they say; those that follow a broker run in tests/integration."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from console.notify.settings import WebhookSettings
from console.notify.webhook import WebhookSink
from sightline import samples
from sightline.contracts import Alert, AlertState, Severity
from sightline.errors import DeliveryError

EXAMPLES = Path(__file__).parents[4] / "examples"
SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Subscriber:
    """What `AlertSubscriber` is to a script, with these alerts and then an end."""

    def __init__(self, *alerts: Alert) -> None:
        self._alerts = alerts

    def __call__(self, **how: Any) -> Subscriber:
        return self

    def __enter__(self) -> Iterator[Alert]:
        return iter(self._alerts)

    def __exit__(self, *error: object) -> None:
        pass


def test_the_signal_tower_shows_the_worst_that_is_open(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tower = example("signal_tower")
    mild, bad = samples.alert("cam-1"), replace(samples.alert("cam-2"), severity=Severity.CRITICAL)
    closed = [replace(alert, state=AlertState.CLOSED, revision=9) for alert in (bad, mild)]
    elsewhere = replace(samples.alert("cam-9"), line="line-b")
    monkeypatch.setattr(tower, "AlertSubscriber", Subscriber(mild, elsewhere, bad, *closed))
    tower.main("line-a")
    shown = [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()]
    assert shown == ["green", "yellow", "red", "yellow", "green"]


def test_the_shift_log_has_a_line_and_a_picture_of_each_closed_incident(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = example("shift_log")
    closed = samples.alert("cam-1", revision=5, state=AlertState.CLOSED)
    monkeypatch.setattr(script, "AlertSubscriber", Subscriber(samples.alert("cam-1"), closed))
    script.main(tmp_path / "shift.csv", tmp_path / "pictures")
    (line,) = (tmp_path / "shift.csv").read_text().splitlines()
    assert line.split(",")[1:] == ["cam-1", "critical", "48", "6.0", closed.alert_id]
    assert (tmp_path / "pictures" / f"{closed.alert_id}.jpg").read_bytes() == samples.JPEG


@contextmanager
def receiving(script: ModuleType) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), script.Receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_receiver_takes_what_sightline_signed_once_and_refuses_another_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = example("verify_webhook")
    monkeypatch.setattr(script.Receiver, "secret", SECRET)
    own, other = tmp_path / "own", tmp_path / "other"
    own.write_text(SECRET)
    other.write_text("whsec_" + base64.b64encode(bytes(24)).decode())

    async def send(url: str, secret_file: Path) -> None:
        sink = WebhookSink(WebhookSettings(url=url, secret_file=secret_file))
        await sink.open()
        try:
            await sink.send([samples.alert()])
        finally:
            await sink.close()

    with receiving(script) as url:
        asyncio.run(send(url, own))
        asyncio.run(send(url, own))
        with pytest.raises(DeliveryError, match="401"):
            asyncio.run(send(url, other))
    assert capsys.readouterr().out.splitlines() == ["alert.opened cam-1 3"]
