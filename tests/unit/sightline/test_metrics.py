"""What Prometheus finds when it asks a process: over HTTP, under which names, and when the port is taken."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from sightline import __version__
from sightline.metrics import (
    OTHER,
    Bounded,
    Definition,
    MetricsServer,
    MetricsSettings,
    all_definitions,
    new_registry,
    noted_processes,
)

ALL = [definition for group in all_definitions().values() for definition in group]
ANY_PORT = {"score": 0}


@pytest.fixture(autouse=True)
def own_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGHTLINE_RUN", str(tmp_path))
    return tmp_path


def scrape(port: int | None) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {sample.name: sample.value for family in families for sample in family.samples}


def test_a_process_is_scraped_and_found_by_its_note_until_it_stops(own_run: Path) -> None:
    registry = new_registry("score")
    frames = Definition("sightline_frames_test_total", "counter", "Frames").counter(registry)
    with MetricsServer("score", registry, MetricsSettings.load(ports=ANY_PORT)) as server:
        frames.inc(3)
        found = scrape(server.port)
        assert found["sightline_frames_test_total"] == 3
        assert found["sightline_build_info"] == 1
        assert found["sightline_disk_free_bytes"] > 0
        assert found["process_resident_memory_bytes"] > 1e6
        (noted,) = noted_processes()
        assert (noted.process, noted.address, noted.pid) == ("score", f"127.0.0.1:{server.port}", os.getpid())
        (file,) = (own_run / "metrics").glob("*.json")
        # the form of file_sd_configs, in which Prometheus drops labels that begin with two underscores
        assert json.loads(file.read_text())[0]["labels"] == {"process": "score", "__pid": str(os.getpid())}
    assert noted_processes() == []


def test_a_taken_port_costs_a_warning_and_another_port(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with MetricsServer("score", new_registry("score"), MetricsSettings.load(ports={"score": port})) as server:
            assert server.port not in (None, port)
            assert scrape(server.port)["sightline_build_info"] == 1
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert f"127.0.0.1:{port}" in warning
    assert "[metrics] ports = {score = …}" in warning


def test_an_address_that_is_not_here_leaves_the_process_alone(caplog: pytest.LogCaptureFixture) -> None:
    with MetricsServer("score", new_registry("score"), MetricsSettings.load(host="192.0.2.1", ports=ANY_PORT)) as none:
        assert none.port is None
    assert "192.0.2.1" in caplog.text


def test_metrics_can_be_switched_off() -> None:
    with MetricsServer("score", new_registry("score"), MetricsSettings.load(enabled=False)) as server:
        assert server.port is None
    assert noted_processes() == []


def test_the_note_of_a_killed_process_stays_until_the_next_one_starts(own_run: Path) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    note = own_run / "metrics" / "score-1.json"
    note.parent.mkdir()
    note.write_text(json.dumps([{"targets": ["127.0.0.1:1"], "labels": {"process": "score", "__pid": str(child.pid)}}]))
    assert [one.alive for one in noted_processes()] == [False]
    with MetricsServer("score", new_registry("score"), MetricsSettings.load(ports=ANY_PORT)):
        assert [one.alive for one in noted_processes()] == [True]


def test_cameras_beyond_the_bound_share_a_label() -> None:
    camera = Bounded(2)
    assert [camera(name) for name in ("a", "b", "c", "a", "d")] == ["a", "b", OTHER, "a", OTHER]


@pytest.mark.parametrize("definition", ALL, ids=lambda definition: definition.name)
def test_names_keep_to_the_conventions(definition: Definition) -> None:
    assert re.fullmatch(r"sightline_[a-z_]+", definition.name)
    assert definition.name.endswith("_total") == (definition.kind == "counter")
    if definition.kind == "histogram":
        assert definition.name.endswith("_seconds")
    assert not re.search(r"_(ms|milliseconds|minutes|mb|kb|percent)(_|$)", definition.name)
    assert definition.meaning and not definition.meaning.endswith(".")
    # names that Prometheus or its service discovery gives
    assert not {"le", "job", "instance", "quantile"} & set(definition.labels)


def test_no_name_is_used_twice() -> None:
    names = [definition.name for definition in ALL]
    assert len(names) == len(set(names)) > 20


def everything() -> bytes:
    """All metrics of all rooms, each with a sample."""
    registry = CollectorRegistry()
    for definition in ALL:
        metric = getattr(definition, definition.kind)(registry)
        labelled = metric.labels(*definition.labels) if definition.labels else metric
        labelled.observe(1) if definition.kind == "histogram" else labelled.inc()
    return generate_latest(registry)


def test_the_exposition_is_read_by_prometheus_own_parser() -> None:
    families = {family.name: family for family in text_string_to_metric_families(everything().decode())}
    for definition in ALL:
        family = families[definition.name.removesuffix("_total")]
        assert family.type == definition.kind
        assert {label for sample in family.samples for label in sample.labels} - {"le"} == set(definition.labels)


def test_promtool_has_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not on the PATH (Debian: apt-get install prometheus)")
    answer = subprocess.run([promtool, "check", "metrics"], input=everything(), capture_output=True, check=False)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, b"", b"")


def test_the_version_is_that_of_the_package() -> None:
    with MetricsServer("score", new_registry("score"), MetricsSettings.load(ports=ANY_PORT)) as server:
        url = f"http://127.0.0.1:{server.port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert f'sightline_build_info{{process="score",version="{__version__}"}} 1.0' in answer.read().decode()
