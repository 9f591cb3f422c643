"""What stands in the embedded broker's way is said before Kafka is started, or with Kafka's own last words."""

from __future__ import annotations

import os
import re
import socket
import stat
import tomllib
from pathlib import Path

import pytest

from infra.broker import BrokerSettings, EmbeddedBroker, write_endpoint
from infra.broker_config import last_ports, server_properties
from sightline.errors import BrokerError, PrerequisiteError, SettingsError
from sightline.settings import MAX_MESSAGE_BYTES, KafkaSettings


def _settings(folder: Path, **more: object) -> BrokerSettings:
    return BrokerSettings.load(folder=folder, **{"free_disk_mb": 0} | more)


def test_a_taken_port_is_named_with_who_holds_it_and_the_remedy(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PrerequisiteError) as caught:
            EmbeddedBroker(_settings(tmp_path, port=port)).start()
    message = str(caught.value)
    assert f"port {port} of 127.0.0.1 is taken" in message
    assert f"process {os.getpid()}" in message
    assert "[broker] port" in message


def test_too_small_a_disk_is_told_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteError, match=r"\d+ MB are free .* needs 999999999 MB"):
        EmbeddedBroker(_settings(tmp_path, free_disk_mb=999_999_999)).start()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PrerequisiteError, match="file/kafka"):
        EmbeddedBroker(_settings(tmp_path / "file" / "kafka")).start()


def test_a_java_that_dies_at_the_start_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _dying_java(tmp_path / "java", monkeypatch)
    data = tmp_path / "kafka" / "data"
    data.mkdir(parents=True)
    (data / "meta.properties").touch()
    with pytest.raises(BrokerError, match=r"exit code 7.*\n(.*\n)*.*not enough memory for this"):
        EmbeddedBroker(_settings(tmp_path / "kafka")).start()


def test_data_that_kafka_cannot_prepare_is_told_in_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _dying_java(tmp_path / "java", monkeypatch)
    with pytest.raises(BrokerError, match=r"could not prepare its data in .*\nnot enough memory for this"):
        EmbeddedBroker(_settings(tmp_path / "kafka")).start()


def _dying_java(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = --list-modules ]; then echo java.base@17; echo jdk.incubator.vector@17; exit; fi\n'
        "echo not enough memory for this; exit 7\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("JAVA_HOME", str(home))


def test_a_wrong_heap_names_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_BROKER_HEAP", "lots")
    with pytest.raises(SettingsError, match=r"\[broker\] heap = 'lots'.*SIGHTLINE_BROKER_HEAP"):
        BrokerSettings.load()


def test_the_configuration_listens_on_its_host_only_and_takes_whole_frames(tmp_path: Path) -> None:
    text = server_properties(host="127.0.0.1", port=9001, controller_port=9002, data=tmp_path)
    assert set(re.findall(r"//([\w.]*):", text)) == {"127.0.0.1"}
    assert f"message.max.bytes={MAX_MESSAGE_BYTES}\n" in text
    assert "auto.create.topics.enable=false\n" in text


def test_the_ports_of_the_last_start_are_remembered(tmp_path: Path) -> None:
    config = tmp_path / "server.properties"
    assert last_ports(config) == (0, 0)
    config.write_text(server_properties(host="127.0.0.1", port=9001, controller_port=9002, data=tmp_path))
    assert last_ports(config) == (9001, 9002)


def test_every_command_finds_the_noted_address_and_other_entries_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_RUN", str(tmp_path / "run"))
    path = write_endpoint("127.0.0.1:1234")
    path.write_text(path.read_text() + 'topic_prefix = "a."\n[tables]\nroot = "/elsewhere"\n')
    write_endpoint("127.0.0.1:5678")
    assert KafkaSettings.load().bootstrap == "127.0.0.1:5678"
    assert KafkaSettings.load().topic_prefix == "a."
    assert tomllib.loads(path.read_text())["tables"] == {"root": "/elsewhere"}


def test_a_broken_endpoint_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_RUN", str(tmp_path))
    (tmp_path / "sightline.toml").write_text("[kafka\n")
    with pytest.raises(SettingsError, match=r"sightline.toml is not valid TOML.*delete it"):
        write_endpoint("127.0.0.1:1")
