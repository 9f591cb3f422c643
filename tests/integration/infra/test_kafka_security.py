"""A secured broker: every role does its work, and is refused all else with a word on what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed
from typer.testing import CliRunner

from console.api.actions import KafkaActions
from console.unsettled import FrameTopic
from infra.acls import ensure_acls
from infra.broker import BrokerSettings, EmbeddedBroker
from infra.commands import app
from infra.deployment import open_up
from infra.lag import behind
from infra.topics import ensure_topics
from sightline import codec
from sightline.contracts import (
    ActionKind,
    DetectorRef,
    HeatMap,
    Inspection,
    OperatorAction,
    Quality,
    SourceOffset,
    Timings,
    Verdict,
)  # fmt: skip
from sightline.errors import BrokerError
from sightline.kafka_refusal import Hearsay, refusal
from sightline.kafka_roles import GRANTED_ROLES, INCIDENTS_GROUP, NO_GROUP, grants
from sightline.settings import KafkaRole, KafkaSettings
from sightline.subscriber import AlertSubscriber
from streaming.dead_letters import Selection, find
from streaming.fold import AlertSettings
from streaming.incident_session import IncidentSession, IncidentSettings

NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """A secured broker with topics and rights, as `sightline broker --secure` leaves it."""
    folder = tmp_path_factory.mktemp("secured")
    settings = BrokerSettings.load(
        folder=folder / "kafka", heap="384m", free_disk_mb=500, secure=True, start_seconds=300
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGHTLINE_RUN", str(folder / "run"))
        with EmbeddedBroker(settings) as broker:
            open_up(broker)
            yield broker


@pytest.fixture(scope="module")
def kafka(secured: EmbeddedBroker) -> KafkaSettings:
    """What every command finds in the run folder."""
    return KafkaSettings.load()


def produce(
    kafka: KafkaSettings, topic: str, value: bytes = b"{}", *, idempotent: bool = True, **record: Any
) -> KafkaError | None:
    """What the broker said to one record."""
    answers: list[KafkaError | None] = []
    keys = {"enable.idempotence": idempotent, "message.timeout.ms": 60_000, "log_level": 0}
    producer = Producer(kafka.librdkafka(**keys))
    producer.produce(topic, value, on_delivery=lambda error, _: answers.append(error), **record)
    producer.flush(60)
    return answers[0]


def consume(kafka: KafkaSettings, topic: str, group: str = NO_GROUP) -> bytes | KafkaError:
    """The first record of the topic, or what the broker said."""
    consumer = Consumer(kafka.librdkafka(**{"group.id": group, "enable.auto.commit": False, "log_level": 0}))
    if denied := consumer.list_topics(topic, timeout=60).topics[topic].error:
        return denied
    consumer.assign([TopicPartition(topic, 0, 0)])
    record = consumer.poll(60)
    consumer.close()
    assert record is not None
    return record.error() or record.value()


def join(kafka: KafkaSettings, topic: str, group: str) -> KafkaError:
    """What the broker said to a wish to be one of the group; nothing can be read before it is granted."""
    consumer = Consumer(kafka.librdkafka(**{"group.id": group, "log_level": 0}))
    consumer.subscribe([topic])
    said = consumer.poll(60)
    consumer.close()
    assert said is not None, f"neither refused nor taken into {group}"
    error = said.error()
    assert error is not None, f"{group} gave a record of {topic}"
    return error


def inspection(sequence: int) -> bytes:
    captured = NOW + timedelta(seconds=sequence)
    return codec.encode(
        Inspection(
            inspection_id=codec.digest_id("cam-1", sequence, captured, "1"),
            line="line-1",
            camera="cam-1",
            sequence=sequence,
            captured_at=captured,
            product="cap",
            width=640,
            height=480,
            score=3.0,
            threshold=1.0,
            verdict=Verdict.DEFECT,
            detector=DetectorRef(name="sightline.cap", version="1", digest="abc"),
            quality=Quality(blur=1.0, exposure=100.0),
            timings=Timings(ingested_at=captured, decoded_at=captured, scored_at=captured),
            source=SourceOffset(topic="frames", partition=0, offset=sequence),
            heat_map=HeatMap(rows=1, cols=1, scale=1.0, values=b"\0"),
        )
    )


# a slow broker may need longer for the first transaction than a session gives it: the process tries again too
@retry(retry=retry_if_exception_type(KafkaException), wait=wait_fixed(1), stop=stop_after_delay(120), reraise=True)
def fold_all(kafka: KafkaSettings, count: int) -> None:
    """Let the incident process fold so many inspections, and commit."""
    with IncidentSession(kafka, AlertSettings(defects=1), IncidentSettings(commit_seconds=0.1)) as session:
        folded = 0
        while folded < count:
            folded += session.step()
        session.step()


def test_each_role_does_its_work(kafka: KafkaSettings) -> None:
    names = kafka.topics
    camera, scorer = kafka.for_role("camera"), kafka.for_role("scorer")
    assert produce(camera, names.frames, b"jpeg", partition=0) is None
    assert produce(camera, names.camera_events, partition=0) is None
    for topic in (names.dead_letters, names.archive, names.shadow, names.camera_events):
        assert produce(scorer, topic, partition=0) is None
    for sequence in range(5):
        assert produce(scorer, names.inspections, inspection(sequence), key=b"cam-1", partition=0) is None

    fold_all(kafka.for_role("incidents"), 5)
    operator = kafka.for_role("operator")
    with AlertSubscriber(operator, start="earliest", name="alerts-lamp") as alerts:
        alert = next(iter(alerts))
        alerts.poll(0.1)  # notes its progress
    action = OperatorAction(action_id="a1", alert_id=alert.alert_id, kind=ActionKind.ACKNOWLEDGE, actor="kim", at=NOW)
    KafkaActions(operator).send(action)
    assert alert.camera == "cam-1"

    engineer = kafka.for_role("engineer")
    topic = FrameTopic(engineer)
    assert sum(end for _, end in topic.bounds.values()) == 1
    topic.close()
    assert list(find(engineer, Selection())) == []  # the one that is there is none of Sightline's
    assert behind(engineer, INCIDENTS_GROUP, names.inspections) == 0


def test_what_is_not_its_work_is_refused_with_what_to_do(kafka: KafkaSettings) -> None:
    names = kafka.topics

    def told(role: KafkaRole, operation: Any, topic: str) -> str:
        own = kafka.for_role(role)
        said = produce(own, topic, idempotent=False) if operation == "write" else consume(own, topic)
        assert isinstance(said, KafkaError), f"{role} may {operation} {topic}"
        return str(refusal(own, said, topic=topic, operation=operation))

    assert "refuses user camera to write the topic alerts, which is not for the role camera" in told(
        "camera", "write", names.alerts
    )
    assert "user operator to write the topic inspections" in told("operator", "write", names.inspections)
    assert "user scorer to write the topic alerts" in told("scorer", "write", names.alerts)
    assert "user historian to write the topic inspections" in told("historian", "write", names.inspections)
    # which of the two the broker refuses first is not settled
    assert re.search("user camera (the group|to read the topic frames)", told("camera", "read", names.frames))
    assert "user incidents to read the topic frames" in told("incidents", "read", names.frames)
    joined = join(kafka.for_role("operator"), names.inspections, INCIDENTS_GROUP)
    assert joined.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
    with pytest.raises(BrokerError, match="lets only an admin do this, and user camera is none"):
        ensure_acls(kafka.for_role("camera"), {"stranger": "camera"}, apply=True)
    with pytest.raises(BrokerError, match=r"refuses user camera|has no topic|only an admin"):
        ensure_topics(kafka.for_role("camera"))
    stranger = kafka.for_role("camera").model_copy(update={"sasl_password": kafka.for_role("admin").sasl_password})
    heard = Hearsay()
    client = Producer(stranger.librdkafka(error_cb=heard, log_level=0))
    with pytest.raises(KafkaException) as caught:
        client.list_topics(timeout=5)
    client.poll(0.5)
    assert "does not know user camera" in str(refusal(stranger, caught.value, heard=heard))


def test_a_certificate_is_as_good_as_a_password_and_nothing_else_is(secured: EmbeddedBroker) -> None:
    camera = secured.certified("camera")
    assert produce(camera, camera.topics.frames, b"jpeg") is None
    assert produce(camera, camera.topics.alerts).code() == KafkaError.TOPIC_AUTHORIZATION_FAILED  # type: ignore[union-attr]
    for update in ({"client_certificate": None, "client_key": None}, {"ca_file": None}):
        with pytest.raises(KafkaException):
            Producer(camera.model_copy(update=update).librdkafka(log_level=0)).list_topics(timeout=3)
    for bootstrap in (secured.bootstrap, camera.bootstrap):
        with pytest.raises(KafkaException):
            Producer({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=3)


def test_a_user_comes_with_the_rights_of_its_role_and_goes_with_them(kafka: KafkaSettings, tmp_path: Path) -> None:
    def sightline(*words: str) -> str:
        answer = CliRunner().invoke(app, list(words), catch_exceptions=False)
        assert answer.exit_code == 0, answer.output
        return answer.output

    file = tmp_path / "password"
    sightline("kafka-user", "camera-north", "--role", "camera", "--password-file", str(file))
    assert file.stat().st_mode & 0o077 == 0
    update = {"sasl_username": "camera-north", "sasl_password_file": str(file), "roles": {}}
    north = KafkaSettings.load(**update)
    assert produce(north, north.topics.frames) is None
    assert "missing" not in sightline("acls", "--role", "camera", "--user", "camera-north", "--check")

    sightline("kafka-user", "camera-north", "--remove")
    reports = ensure_acls(kafka.for_role("admin"), {"camera-north": "camera"}, apply=False)
    assert reports[0].missing == grants("camera", kafka)
    with pytest.raises(KafkaException):
        Producer(north.librdkafka(log_level=0)).list_topics(timeout=3)


def test_rights_are_granted_once(kafka: KafkaSettings) -> None:
    users: dict[str, KafkaRole] = {role: role for role in GRANTED_ROLES}
    reports = ensure_acls(kafka.for_role("admin"), users, apply=True)
    assert not any(report.missing or report.others for report in reports)


def test_no_password_is_in_a_command_line_a_log_or_the_configuration(
    secured: EmbeddedBroker, kafka: KafkaSettings
) -> None:
    passwords = [kafka.roles[role].sasl_password.get_secret_value() for role in kafka.roles]  # type: ignore[union-attr]
    assert len(set(passwords)) == len(passwords) == 7
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    written = [path.read_text(errors="replace") for path in secured.folder.glob("*.*") if path.is_file()]
    for text in (*lines, *written):
        assert not any(password in text for password in passwords)
