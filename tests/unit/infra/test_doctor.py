"""What `sightline doctor` says of broken deployments, and that no check takes the others along."""

from __future__ import annotations

import json
import shutil
import socket
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from infra import doctor
from infra.doctor_kafka import kafka, spread
from infra.doctor_report import as_json, show
from sightline.diagnosis import EXIT_CODES, Finding, State, examine, fault, fine, warning, worst
from sightline.errors import PrerequisiteError

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def own_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGHTLINE_RUN", str(tmp_path))
    return tmp_path


def only(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_a_check_that_breaks_is_a_finding_beside_the_others() -> None:
    def absent() -> Iterator[Finding]:
        raise PrerequisiteError("Java is not installed; install it with apt")
        yield

    def broken() -> Iterator[Finding]:
        yield fine("first half", "well")
        raise KeyError("x")

    def lacking() -> Iterator[Finding]:
        raise ModuleNotFoundError("No module named 'mlflow'", name="mlflow")
        yield

    found = list(examine([("java", absent), ("odd", broken), ("models", lacking)]))
    assert [(one.subject, one.state) for one in found] == [
        ("java", State.FAULT), ("first half", State.OK), ("odd", State.FAULT), ("models", State.FAULT),
    ]  # fmt: skip
    assert (found[0].found, found[0].remedy) == ("Java is not installed", "install it with apt")
    assert "mlflow is not installed" in found[3].found


@pytest.mark.parametrize(("states", "code"), [(["ok"], 0), (["ok", "warning"], 1), (["fault", "warning", "ok"], 2)])
def test_the_exit_code_is_that_of_the_worst(states: list[str], code: int) -> None:
    assert EXIT_CODES[worst(Finding("x", State(state), "y") for state in states)] == code


@pytest.mark.parametrize(
    ("free_gib", "state"), [(0.5, State.FAULT), (3.0, State.WARNING), (50.0, State.OK)], ids=["full", "low", "room"]
)
def test_room_on_the_disk(free_gib: float, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100, 0, int(free_gib * doctor.GIB)))
    found = list(doctor.disks())
    assert [one.state for one in found] == [state, state]
    assert f"{free_gib:.1f} GiB free" in found[0].found
    assert bool(found[0].remedy) == (state is not State.OK)


def test_a_taken_port_is_named_with_the_process_that_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        free = dict.fromkeys(("producers", "incidents", "history", "api"), 0)
        monkeypatch.setenv("SIGHTLINE_METRICS_PORTS", json.dumps(free | {"score": port}))
        found = only(doctor.ports())
    assert found.state is State.WARNING
    assert f"{port} (score)" in found.found
    assert only(doctor.ports()).state is State.OK


def test_a_broker_that_is_away_is_one_fault_and_no_more_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    monkeypatch.setenv("SIGHTLINE_KAFKA_BOOTSTRAP", f"127.0.0.1:{port}")
    monkeypatch.setattr("infra.doctor_kafka._SECONDS", 0.3)
    found = only(kafka())
    assert (found.subject, found.state) == ("broker", State.FAULT)
    assert f"127.0.0.1:{port}" in found.found
    assert "sightline broker" in found.remedy


def test_a_partition_without_a_camera_is_named_and_what_it_costs() -> None:
    found = spread({0: 0, 1: 4000, 2: 0})
    assert found.state is State.WARNING
    assert found.found == "none of 4,000 frames lies in 0, 2 of 3"
    assert "idle" in found.remedy
    assert spread({0: 900, 1: 4000}).state is State.OK


def test_java_that_is_not_there_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    found = only(examine([("Java", doctor.java)]))
    assert found.state is State.FAULT
    assert "/nowhere" in found.found
    assert "Install one with" in f"{found.found} {found.remedy}"


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_keeps_to_the_terminal(width: int) -> None:
    console = Console(width=width, record=True, file=None, force_terminal=False, quiet=False)
    console.begin_capture()
    show(
        [fine("Java", "/usr/bin/java"), warning("clock", "unsure", "ask " * 60), fault("broker", "x" * 300, "y")],
        console,
    )
    text = console.end_capture()
    assert max(len(line) for line in text.splitlines()) <= width
    assert "→ y" in text
    assert "1 ok, 1 warning, 1 fault" in text


def test_json_has_the_state_and_every_finding() -> None:
    told = json.loads(as_json([fine("a", "b"), warning("c", "d", "e")]))
    assert told["state"] == "warning"
    assert told["findings"][1] == {"subject": "c", "state": "warning", "found": "d", "remedy": "e"}
