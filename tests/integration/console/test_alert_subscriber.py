"""The alert subscriber, `sightline alerts` and the sources of the wall on a real broker."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import cv2
import numpy as np
import pytest
import uvicorn
from confluent_kafka import Producer

from console.api.actions import KafkaActions
from console.api.app import create_app
from console.api.roles import Role
from console.api.services import wire
from console.api.settings import ApiSettings, OidcSettings
from console.mutes import MuteFollower
from console.notify import job as notify
from console.notify.outbox import read_states
from console.notify.settings import NotifySettings
from console.web.floor import Seen
from console.web.floor_topics import FloorTopics, FrameTails
from infra.broker import BrokerSettings, EmbeddedBroker
from infra.topics import ensure_topics
from sightline import codec, samples, subscriber
from sightline.client import Client
from sightline.consumer import open_consumer
from sightline.contracts import ActionKind, Alert, AlertState, CameraEvent, Mute, OperatorAction, Severity
from sightline.errors import BrokerError
from sightline.settings import KafkaSettings, RegistrySettings, TableSettings
from sightline.subscriber import AlertSubscriber

OPENED, UPDATED, CLOSED = AlertState.OPENED, AlertState.UPDATED, AlertState.CLOSED
PATIENCE = 60.0


def publish(kafka: KafkaSettings, *alerts: Alert, commit: bool = True) -> None:
    """As the incident process does it: in a transaction, to the partition of the camera."""
    producer = Producer(kafka.librdkafka(**{"transactional.id": uuid4().hex, "log_level": 2}))
    producer.init_transactions(30)
    producer.begin_transaction()
    for alert in alerts:
        partition = sum(alert.camera.encode()) % kafka.partitions
        producer.produce(kafka.topics.alerts, codec.encode(alert), alert.alert_id, partition=partition)
    producer.flush(30)
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


def incident(camera: str, sequence: int, *states: AlertState) -> list[Alert]:
    return [samples.alert(camera, sequence, revision=n, state=state) for n, state in enumerate(states)]


def take(alerts: AlertSubscriber, count: int) -> list[Alert]:
    """The next `count` alerts; fails when they do not come."""
    taken: list[Alert] = []
    deadline = time.monotonic() + PATIENCE
    while len(taken) < count:
        assert time.monotonic() < deadline, f"only {len(taken)} of {count} alerts came"
        taken += alerts.poll(0.5)
    return taken


def everything(alerts: AlertSubscriber) -> list[Alert]:
    """All that the topic held when the subscriber was opened."""
    taken: list[Alert] = []
    while not alerts.caught_up:
        taken += alerts.poll(0.5)
    return taken


def test_from_now_on_and_not_before(kafka: KafkaSettings) -> None:
    publish(kafka, *incident("cam-1", 10, OPENED))
    with AlertSubscriber(kafka) as alerts:
        publish(kafka, *incident("cam-1", 500, OPENED, UPDATED))
        assert take(alerts, 2) == incident("cam-1", 500, OPENED, UPDATED)


def test_from_the_earliest_in_order_of_each_camera(kafka: KafkaSettings) -> None:
    first, second = incident("cam-1", 10, OPENED, UPDATED, CLOSED), incident("cam-2", 10, OPENED, CLOSED)
    publish(kafka, *first, *second)
    with AlertSubscriber(kafka, start="earliest") as alerts:
        seen = everything(alerts)
    assert [alert for alert in seen if alert.camera == "cam-1"] == first
    assert [alert for alert in seen if alert.camera == "cam-2"] == second


def test_open_incidents_by_their_last_revision_and_then_what_follows(kafka: KafkaSettings) -> None:
    publish(kafka, *incident("cam-1", 10, OPENED, UPDATED, CLOSED), *incident("cam-1", 900, OPENED, UPDATED))
    publish(kafka, *incident("cam-2", 300, OPENED))
    reopened = incident("cam-3", 5, OPENED, CLOSED, UPDATED)
    publish(kafka, *reopened)
    with AlertSubscriber(kafka, start="open") as alerts:
        now = everything(alerts)
        assert now == [reopened[-1], samples.alert("cam-2", 300), incident("cam-1", 900, OPENED, UPDATED)[-1]]
        closed = samples.alert("cam-1", 900, revision=2, state=CLOSED)
        publish(kafka, closed)
        assert take(alerts, 1) == [closed]


def test_an_alert_that_was_rolled_back_is_never_seen(kafka: KafkaSettings) -> None:
    publish(kafka, *incident("cam-1", 10, OPENED), commit=False)
    publish(kafka, *incident("cam-1", 20, OPENED))
    with AlertSubscriber(kafka, start="earliest") as alerts:
        assert everything(alerts) == incident("cam-1", 20, OPENED)


def test_a_repeat_comes_once_and_a_stranger_s_record_is_passed_over(kafka: KafkaSettings) -> None:
    publish(kafka, *incident("cam-1", 10, OPENED, UPDATED))
    publish(kafka, *incident("cam-1", 10, OPENED, UPDATED, CLOSED))
    stranger = Producer(kafka.librdkafka())
    stranger.produce(kafka.topics.alerts, b"not an alert", b"x")
    stranger.produce(kafka.topics.alerts, None, b"tombstone")
    stranger.flush(30)
    with AlertSubscriber(kafka, start="earliest") as alerts:
        assert everything(alerts) == incident("cam-1", 10, OPENED, UPDATED, CLOSED)


def test_only_the_cameras_and_severities_that_were_asked_for(kafka: KafkaSettings) -> None:
    publish(kafka, *incident("cam-1", 10, OPENED, UPDATED), *incident("cam-2", 10, OPENED, UPDATED))
    with AlertSubscriber(kafka, start="earliest", cameras={"cam-2"}, severities={Severity.CRITICAL}) as alerts:
        assert everything(alerts) == incident("cam-2", 10, OPENED, UPDATED)[1:]


def test_a_named_subscriber_goes_on_where_it_stopped(kafka: KafkaSettings) -> None:
    publish(kafka, *incident("cam-1", 10, OPENED))
    with AlertSubscriber(kafka, start="earliest", name="pager") as alerts:
        assert take(alerts, 1) == incident("cam-1", 10, OPENED)
        alerts.poll(0.1)  # asking for more says that the first was handled
    publish(kafka, *incident("cam-1", 20, OPENED))
    with AlertSubscriber(kafka, start="now", name="pager") as alerts:
        assert take(alerts, 1) == incident("cam-1", 20, OPENED)
        # it ends here, before it has said so: as in a crash
    with AlertSubscriber(kafka, start="now", name="pager") as alerts:
        assert take(alerts, 1) == incident("cam-1", 20, OPENED)


def test_a_topic_that_does_not_exist_is_named(broker: KafkaSettings) -> None:
    with pytest.raises(BrokerError, match=r"no topic 'nowhere\.alerts'"):
        AlertSubscriber(broker.model_copy(update={"topic_prefix": "nowhere."}))


def test_the_example_of_the_documentation_runs(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    document = inspect.getdoc(subscriber) or ""
    example = inspect.cleandoc("\n".join(line for line in document.splitlines() if line.startswith("    ")))
    monkeypatch.setenv("SIGHTLINE_KAFKA_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("SIGHTLINE_KAFKA_TOPIC_PREFIX", kafka.topic_prefix)

    class LampError(Exception):
        pass

    def light_the_lamp(camera: str) -> None:
        raise LampError(camera)

    stop = threading.Event()

    def keep_publishing() -> None:
        sequence = 0
        while not stop.wait(0.5):
            sequence += 100
            publish(kafka, replace(samples.alert("cam-1", sequence), severity=Severity.CRITICAL))

    publisher = threading.Thread(target=keep_publishing)
    publisher.start()
    try:
        with pytest.raises(LampError, match="cam-1"):
            exec(example, {"light_the_lamp": light_the_lamp})
    finally:
        stop.set()
        publisher.join()


def test_a_broker_that_restarts_is_waited_for_and_one_that_stays_away_is_an_error(tmp_path: Path) -> None:
    settings = BrokerSettings.load(folder=tmp_path / "kafka", heap="256m", free_disk_mb=200)
    with EmbeddedBroker(settings) as running:
        kafka = KafkaSettings.load(bootstrap=running.bootstrap)
        ensure_topics(kafka)
        alerts = AlertSubscriber(kafka, patience=20.0)
        publish(kafka, *incident("cam-1", 10, OPENED))
        assert take(alerts, 1) == incident("cam-1", 10, OPENED)
    assert alerts.poll(2.0) == []
    port = int(kafka.bootstrap.rpartition(":")[2])
    with EmbeddedBroker(settings.model_copy(update={"port": port})):
        publish(kafka, *incident("cam-1", 20, OPENED))
        assert take(alerts, 1) == incident("cam-1", 20, OPENED)
    with alerts, pytest.raises(BrokerError, match=r"has not answered for \d+ s"):
        for _ in alerts:
            pass


@contextmanager
def command(kafka: KafkaSettings, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`sightline alerts` in a process of its own."""
    environment = os.environ | {
        "SIGHTLINE_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "SIGHTLINE_KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "sightline", "alerts", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_command_prints_lines_for_people_and_saves_pictures(kafka: KafkaSettings, tmp_path: Path) -> None:
    publish(kafka, *incident("cam-1", 10, OPENED, UPDATED, CLOSED))
    with command(kafka, "--from-beginning", "--no-follow", "--save-pictures", str(tmp_path / "pictures")) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert [line.split()[2] for line in out.splitlines()] == ["opened", "updated", "closed"]
    assert [picture.read_bytes() for picture in (tmp_path / "pictures").iterdir()] == [samples.JPEG]


def test_the_command_prints_json_that_is_the_event_itself(kafka: KafkaSettings) -> None:
    publish(kafka, *incident("cam-1", 10, OPENED, UPDATED, CLOSED))
    with command(kafka, "--from-beginning", "--json", "--limit", "2") as process:
        out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    lines = out.splitlines()
    assert [codec.decode(Alert, line.encode()) for line in lines] == incident("cam-1", 10, OPENED, UPDATED)
    assert json.loads(lines[0])["camera"] == "cam-1"


def test_each_line_comes_at_once_and_ctrl_c_ends_without_a_traceback(kafka: KafkaSettings) -> None:
    publish(kafka, *incident("cam-1", 10, OPENED))
    with command(kafka, "--open", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["state"] == "opened"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == ""


def test_a_reader_that_leaves_ends_the_command_quietly(kafka: KafkaSettings) -> None:
    publish(kafka, *incident("cam-1", 10, OPENED))
    with command(kafka, "--from-beginning", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        publish(kafka, *incident("cam-1", 20, OPENED, UPDATED, CLOSED))
        wait_for(lambda: process.poll() is not None)
        assert process.stderr.read() == ""


@contextmanager
def serving(kafka: KafkaSettings, folder: Path) -> Iterator[Client]:
    """The API on a free port, and a client of it that may operate."""
    services = wire(
        ApiSettings(folder=folder / "console"),
        OidcSettings(),
        kafka=kafka,
        tables=TableSettings(root=str(folder / "tables")),
        registry=RegistrySettings(),
    )
    key = services.keys.create("test", Role.OPERATOR, 1)[1]
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(services), log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with Client(f"http://127.0.0.1:{listener.getsockname()[1]}", key) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def test_the_api_streams_alerts_and_sends_what_operators_do(kafka: KafkaSettings, tmp_path: Path) -> None:
    opened, updated = incident("cam-1", 40, OPENED, UPDATED)
    publish(kafka, opened)
    with serving(kafka, tmp_path) as client:
        stream = client.alert_stream()
        assert next(stream) == opened
        publish(kafka, updated)
        assert next(stream) == updated
        for _ in range(2):
            client.act(opened.alert_id, ActionKind.CONFIRM, defect_type="scratch", idempotency_key="click")
        client.act(opened.alert_id, ActionKind.COMMENT, comment="tool 4 changed")
        stream.close()
    with closing(open_consumer(kafka, connect_seconds=10)) as consumer:
        consumer.subscribe([kafka.topics.operator_actions])
        records: list[Any] = []
        deadline = time.monotonic() + PATIENCE
        while len(records) < 2 and time.monotonic() < deadline:
            records += [record for batch in consumer.poll(timeout_ms=500).values() for record in batch]
    actions = [codec.decode(OperatorAction, record.value) for record in records]
    assert [(action.kind, action.defect_type) for action in actions] == [("confirm", "scratch"), ("comment", None)]
    assert {record.key for record in records} == {opened.alert_id.encode()}
    assert dict(records[0].headers)["ce_id"] == actions[0].action_id.encode()


def test_the_walls_sources_bring_verdicts_actions_and_the_newest_frame_of_each_camera(kafka: KafkaSettings) -> None:
    topics = kafka.topics
    pixels = bytes(cv2.imencode(".jpg", np.full((480, 640, 3), 120, np.uint8))[1].tobytes())
    sender = Producer(kafka.librdkafka(**{"enable.idempotence": True}))
    sender.produce(topics.operator_actions, codec.encode(samples.operator_action()), "earlier")
    for sequence in range(6):
        for camera in ("cam-1", "cam-2"):
            frame = replace(samples.frame(camera, sequence), jpeg=pixels)
            broken = camera == "cam-2" and sequence == 5
            value = pixels[:200] if broken else pixels
            sender.produce(topics.frames, value, camera, headers=codec.frame_headers(frame))
    sender.flush(30)
    with closing(FloorTopics(kafka)) as floor, closing(FrameTails(kafka)) as cameras:
        sender.produce(topics.inspections, codec.encode(samples.inspection(sequence=5)), "cam-1")
        sender.produce(topics.inspections, b"no inspection", "cam-1")
        sender.produce(topics.camera_events, codec.encode(samples.camera_event()), "cam-1")
        sender.flush(30)
        told: list[Any] = []
        deadline = time.monotonic() + PATIENCE
        while len(told) < 3 and time.monotonic() < deadline:
            told += floor.poll(0.5)
        assert {type(one) for one in told} == {OperatorAction, Seen, CameraEvent}
        assert next(one for one in told if isinstance(one, Seen)).sequence == 5
        pictures = {picture.camera: picture for picture in cameras.sample(2)}
        # a truncated frame is no picture; the score query makes it a dead letter
        assert {name: picture.sequence for name, picture in pictures.items()} == {"cam-1": 5}
        assert cv2.imdecode(np.frombuffer(pictures["cam-1"].jpeg, np.uint8), cv2.IMREAD_COLOR).shape[1] <= 320
        assert cameras.sample(2) == []


def test_the_wall_says_when_a_topic_is_missing(broker: KafkaSettings) -> None:
    nowhere = KafkaSettings.load(bootstrap=broker.bootstrap, topic_prefix=f"t{uuid4().hex[:8]}.")
    with pytest.raises(BrokerError, match=r"no topic .*inspections"):
        FloorTopics(nowhere)
    with pytest.raises(BrokerError, match=r"no topic .*frames"):
        FrameTails(nowhere)


class Hook(BaseHTTPRequestHandler):
    """Takes every webhook, unless it is `away`."""

    taken: ClassVar[list[str]] = []
    away: ClassVar[bool] = False

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(503 if self.away else 204)
        self.end_headers()
        if not self.away:
            self.taken.append(self.headers["webhook-id"])

    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def hook() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def notifying(kafka: KafkaSettings, settings: NotifySettings) -> Iterator[MuteFollower]:
    """The process `sightline notify`, in a thread."""
    mutes, stop = MuteFollower(kafka), threading.Event()
    notifier = notify.wire(settings, kafka, mutes)
    mutes.start()
    thread = threading.Thread(target=lambda: asyncio.run(notify.carry(notifier, stop)))
    thread.start()
    try:
        yield mutes
    finally:
        stop.set()
        thread.join()
        mutes.stop()


def test_alerts_reach_a_receiver_through_its_outages_and_ours_and_not_while_they_are_muted(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("whsec_" + "c2lnaHRsaW5l" * 3)
    first, second, third, quiet = (incident(f"cam-{n}", 10, OPENED)[0] for n in range(4))
    mute = Mute(starts_at=quiet.opened_at, ends_at=quiet.opened_at + timedelta(hours=1), camera=quiet.camera)
    action = replace(samples.muting(), mute=mute)
    KafkaActions(kafka).send(action)
    Hook.taken.clear()
    with hook() as url:
        settings = NotifySettings(folder=tmp_path / "notify", webhook={"mes": {"url": url, "secret_file": secret}})
        with notifying(kafka, settings) as mutes:
            assert mutes.ready.wait(PATIENCE)
            # the first start begins at the end of the topic, wherever that is by then
            wait_for(
                lambda: publish(kafka, *incident("cam-9", time.monotonic_ns() % 10**9, OPENED)) or bool(Hook.taken)
            )
            publish(kafka, quiet, first)
            wait_for(lambda: f"{first.alert_id}.0" in Hook.taken)
            Hook.away = True
            publish(kafka, second)
            wait_for(lambda: read_states(settings.folder)[0].failed > 0)
        # what happens while nobody runs is read later
        publish(kafka, third)
        Hook.away = False
        with notifying(kafka, settings):
            wait_for(lambda: {f"{second.alert_id}.0", f"{third.alert_id}.0"} <= set(Hook.taken))
    assert f"{quiet.alert_id}.0" not in Hook.taken
    assert len(Hook.taken) == len(set(Hook.taken))
    assert read_states(settings.folder)[0].muted == 1
