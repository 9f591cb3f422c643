"""The plan of topics, and what is said about a topic that does not fit it."""

from __future__ import annotations

from infra.topics import TopicPlan, TopicSettings, differences, plan
from sightline.settings import MAX_MESSAGE_BYTES, KafkaSettings

KAFKA = KafkaSettings.load(bootstrap="127.0.0.1:9", topic_prefix="line7.", partitions=3)


def _plan() -> dict[str, TopicPlan]:
    return {topic.name: topic for topic in plan(KAFKA, TopicSettings.load())}


def test_every_topic_of_the_deployment_is_planned_under_its_prefix() -> None:
    assert set(_plan()) == set(vars(KAFKA.topics).values())


def test_one_camera_lies_in_the_same_partition_of_every_topic() -> None:
    assert {topic.partitions for topic in _plan().values()} == {3}


def test_a_whole_frame_fits_every_topic() -> None:
    assert min(int(topic.config["max.message.bytes"]) for topic in _plan().values()) == MAX_MESSAGE_BYTES


def test_the_largest_frame_fits_its_dead_letter_and_its_archive_with_the_headers_that_are_added() -> None:
    topics = _plan()
    for name in (KAFKA.topics.dead_letters, KAFKA.topics.archive):
        assert int(topics[name].config["max.message.bytes"]) >= MAX_MESSAGE_BYTES + 16 * 1024


def test_frames_and_inspections_carry_the_brokers_time() -> None:
    timed = {name for name, topic in _plan().items() if topic.config.get("message.timestamp.type") == "LogAppendTime"}
    assert timed == {KAFKA.topics.frames, KAFKA.topics.inspections}


def test_alerts_are_compacted_and_the_folds_state_is_never_deleted_by_age() -> None:
    topics = _plan()
    assert topics[KAFKA.topics.alerts].config["cleanup.policy"] == "compact,delete"
    state = topics[KAFKA.topics.alert_state].config
    assert state["cleanup.policy"] == "compact"
    assert "retention.ms" not in state


def test_every_other_topic_is_bounded_by_time_and_by_bytes() -> None:
    bounded = [topic for name, topic in _plan().items() if name != KAFKA.topics.alert_state]
    for topic in bounded:
        assert int(topic.config["retention.ms"]) > 0
        assert int(topic.config["retention.bytes"]) >= 2 * int(topic.config["segment.bytes"]) > 0


def test_several_replicas_let_one_be_down() -> None:
    three = KafkaSettings.load(replication=3)
    assert {topic.config["min.insync.replicas"] for topic in plan(three, TopicSettings.load())} == {"2"}


def _found(topic: TopicPlan, **other: str) -> dict[str, str]:
    return {
        "message.timestamp.type": "CreateTime",
        **topic.config,
        **{k.replace("_", "."): v for k, v in other.items()},
    }


def test_a_topic_as_planned_is_fine_whatever_its_retention() -> None:
    frames = _plan()[KAFKA.topics.frames]
    found = {frames.name: _found(frames, retention_ms="1", retention_bytes="-1")}
    assert differences([frames], {frames.name: 3}, found, KAFKA) == []


def test_each_setting_that_breaks_the_pipeline_is_told_with_the_remedy() -> None:
    alerts = _plan()[KAFKA.topics.alerts]
    found = {alerts.name: _found(alerts, max_message_bytes="1000012", cleanup_policy="delete")}
    partitions, size, policy = differences([alerts], {alerts.name: 8}, found, KAFKA)
    assert "line7.alerts has 8 partitions, not 3: set [kafka] partitions = 8" in partitions
    assert "max.message.bytes = 1000012" in size
    assert f"--entity-name line7.alerts --add-config max.message.bytes={MAX_MESSAGE_BYTES}" in size
    assert "cleanup.policy = delete, not compact,delete" in policy


def test_the_order_of_clean_up_policies_does_not_matter() -> None:
    alerts = _plan()[KAFKA.topics.alerts]
    found = {alerts.name: _found(alerts, cleanup_policy="delete,compact")}
    assert differences([alerts], {alerts.name: 3}, found, KAFKA) == []
