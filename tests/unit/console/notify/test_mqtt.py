"""MQTT, against a real broker."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from amqtt.broker import Broker
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from pydantic import ValidationError

from console.mutes import MuteFollower
from console.notify.job import wire
from console.notify.mqtt import MqttSink
from console.notify.settings import MqttSettings, NotifySettings, Rules
from sightline import samples
from sightline.contracts import AlertState
from sightline.errors import DeliveryError
from sightline.settings import KafkaSettings

ALERT = replace(samples.alert(), camera="cam/1 +", line="line-a")
PLACE = "plant/line-a/cam%2F1%20%2B"


@asynccontextmanager
async def broker(**listener: Any) -> AsyncIterator[int]:
    """The port of a broker that lets everyone in."""
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    logging.getLogger("transitions").setLevel(logging.ERROR)
    port = free_port()
    made = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}", **listener}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await made.start()
    try:
        yield port
    finally:
        await made.shutdown()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def subscriber(port: int, tls: Any = None) -> AsyncIterator[list[tuple[str, bytes, bool]]]:
    """Everything that the broker tells a client that subscribes to all: topic, payload, whether it was kept."""
    heard: list[tuple[str, bytes, bool]] = []
    client = Client(CallbackAPIVersion.VERSION2, client_id=f"listener-{free_port()}")
    if tls:
        client.tls_set_context(tls)
    client.on_connect = lambda *_: client.subscribe("plant/#", 1)
    client.on_message = lambda _, __, message: heard.append((message.topic, message.payload, bool(message.retain)))
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    client.on_subscribe = lambda *_: loop.call_soon_threadsafe(ready.set)
    client.connect_async("127.0.0.1", port)
    client.loop_start()
    try:
        await asyncio.wait_for(ready.wait(), 60)
        yield heard
    finally:
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time in which a connection might still come."""
    monkeypatch.setattr("console.notify.mqtt._FIRST_CONNECT_SECONDS", 0.5)


def encrypted(certificate: Any) -> dict[str, Any]:
    return {"ssl": True, "certfile": str(certificate.certificate), "keyfile": str(certificate.key)}


def settings(port: int, **more: Any) -> MqttSettings:
    return MqttSettings(host="127.0.0.1", port=port, **({"tls": False, "topic": "plant"} | more))


def test_alert_state_and_status_stand_at_their_topics_and_the_last_two_are_kept() -> None:
    async def run() -> None:
        async with broker() as port, subscriber(port) as heard:
            sink = MqttSink("lamp", settings(port))
            await sink.open()
            await sink.send([ALERT])
            await sink.send([replace(ALERT, revision=1, state=AlertState.CLOSED)])
            await until(lambda: len(heard) >= 5)
            told = {(topic, json.loads(body)["data"]["state"]) for topic, body, _ in heard if topic.endswith("/alert")}
            assert told == {(f"{PLACE}/alert", "opened"), (f"{PLACE}/alert", "closed")}
            async with subscriber(port) as later:
                await until(lambda: len(later) >= 2)
                kept = {topic: body for topic, body, retained in later if retained}
            assert kept["plant/status"] == b"online"
            assert json.loads(kept[f"{PLACE}/state"])["state"] == "closed"
            assert set(kept) == {"plant/status", f"{PLACE}/state"}
            await sink.close()
            await until(lambda: ("plant/status", b"offline") in [(topic, body) for topic, body, _ in heard])

    asyncio.run(run())


def test_a_close_that_comes_after_the_next_incident_has_opened_does_not_say_closed(tmp_path: Path) -> None:
    closed, following = replace(ALERT, revision=1, state=AlertState.CLOSED), replace(ALERT, alert_id="following")

    async def run() -> None:
        async with broker() as port, subscriber(port) as heard:
            notifier = wire(
                NotifySettings(folder=tmp_path, mqtt={"lamp": settings(port, states=["opened", "closed"])}),
                KafkaSettings(bootstrap="127.0.0.1:1"),
                MuteFollower(KafkaSettings(bootstrap="127.0.0.1:1")),
            )
            outbox, rules = notifier.outbox, {"lamp": Rules(states=list(AlertState))}
            outbox.park([ALERT, closed], rules, lambda _: False)
            outbox.done("lamp", outbox.take("lamp"))
            outbox.postpone("lamp", outbox.take("lamp"), 0.0, "no connection")
            outbox.park([following], rules, lambda _: False)
            task = asyncio.create_task(notifier.couriers[0].run())
            await until(lambda: outbox.states()[0].sent == 3)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await until(lambda: ("plant/status", b"offline") in [(topic, body) for topic, body, _ in heard])
            outbox.close()
            said = [json.loads(body)["data"]["state"] for topic, body, _ in heard if topic == f"{PLACE}/alert"]
            assert said == ["opened", "closed"]
            states = [json.loads(body)["alert_id"] for topic, body, _ in heard if topic == f"{PLACE}/state"]
            assert states == ["following"]

    asyncio.run(run())


def test_the_broker_says_offline_when_the_process_is_gone_without_a_word() -> None:
    async def run() -> None:
        async with broker() as port, subscriber(port) as heard:
            sink = MqttSink("lamp", settings(port))
            await sink.open()
            await sink.send([ALERT])
            # the network is cut: no farewell
            sink._client._sock.shutdown(socket.SHUT_RDWR)
            sink._client.loop_stop()
            await until(lambda: any(body == b"offline" for _, body, _ in heard))

    asyncio.run(run())


def test_over_tls_to_a_broker_whose_certificate_is_trusted(certificate) -> None:
    async def run() -> None:
        async with broker(**encrypted(certificate)) as port:
            trusting = MqttSink("lamp", settings(port, tls=True, ca_file=certificate.certificate))
            await trusting.open()
            async with subscriber(port, ssl.create_default_context(cafile=certificate.certificate)) as heard:
                await trusting.send([ALERT])
                await until(lambda: any(topic.endswith("/alert") for topic, _, _ in heard))
            await trusting.close()

    asyncio.run(run())


# paho leaves the socket of a failed handshake to the collector of garbage
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_whose_certificate_is_not_trusted_is_told_nothing(certificate, impatient) -> None:
    async def run() -> None:
        async with broker(**encrypted(certificate)) as port:
            sink = MqttSink("wary", settings(port, tls=True))
            await sink.open()
            with pytest.raises(DeliveryError, match="no connection"):
                await sink.send([ALERT])
            await sink.close()
            gc.collect()

    asyncio.run(run())


def test_nothing_is_claimed_while_the_broker_is_away(impatient) -> None:
    async def run() -> None:
        port = free_port()
        sink = MqttSink("lamp", settings(port))
        await sink.open()
        with pytest.raises(DeliveryError, match="no connection"):
            await sink.send([ALERT])
        await sink.close()

    asyncio.run(run())


def test_a_password_is_never_sent_in_clear(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="needs tls"):
        settings(1883, username="sightline", password_file=tmp_path / "password")
