"""What `sightline status` says when nothing runs, when a process was killed, and of one that works."""

from __future__ import annotations

import json
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from console.status import LastVerdict, Process, Status, TableAge, look
from console.status_view import NOTHING_RUNS, run, show
from sightline.metrics import Definition, MetricsServer, MetricsSettings, new_registry
from sightline.settings import KafkaSettings, TableSettings

AT = datetime(2026, 3, 2, 6, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def own_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGHTLINE_RUN", str(tmp_path))
    return tmp_path


@pytest.fixture
def away() -> KafkaSettings:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    return KafkaSettings.load(bootstrap=f"127.0.0.1:{port}")


def test_nothing_runs(away: KafkaSettings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(away, TableSettings.load(), json=False) == NOTHING_RUNS
    told = capsys.readouterr().out
    assert "nothing runs in this run folder" in told
    assert "make demo" in told
    assert f"no Kafka broker answers at {away.bootstrap}" in " ".join(told.split())


def test_json_is_one_object(away: KafkaSettings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(away, TableSettings.load(), json=True) == NOTHING_RUNS
    told = json.loads(capsys.readouterr().out)
    assert (told["running"], told["processes"], told["cameras"]) == (False, [], [])
    assert "broker" in told["faults"]


def test_a_process_that_answers_and_one_that_was_killed(own_run: Path, away: KafkaSettings) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    registry = new_registry("score")
    Definition("sightline_frames_read_total", "counter", "Frames").counter(registry).inc(100)
    Definition("sightline_query_lag_records", "gauge", "Lag", ("query",)).gauge(registry).labels("score").set(12)
    with MetricsServer("score", registry, MetricsSettings.load(ports={"score": 0})) as server:
        note = [{"targets": ["127.0.0.1:1"], "labels": {"process": "history", "__pid": str(child.pid)}}]
        (own_run / "metrics" / "history-1.json").write_text(json.dumps(note))
        status = look(away, TableSettings.load(), seconds=0.01)
    score, history = status.processes
    assert (score.name, score.state, score.address) == ("score", "running", f"127.0.0.1:{server.port}")
    assert (score.lag, score.per_second) == (12, 0)
    assert (history.name, history.state, history.per_second) == ("history", "killed", None)
    assert status.running


@pytest.mark.parametrize("width", [80, 120])
def test_the_screen_keeps_to_the_terminal(width: int) -> None:
    verdict = LastVerdict(
        camera="camera-with-a-long-name", product="bottle_cap", verdict="defect", score=21.4, threshold=9.5,
        detector="3", captured_at=AT - timedelta(minutes=5), latency_seconds=0.24,
    )  # fmt: skip
    status = Status(
        at=AT,
        processes=[Process(name="score", state="running", address="127.0.0.1:9442", pid=1, up_seconds=7300, lag=3)],
        cameras=[verdict],
        tables=[TableAge(name="inspections", rows=12_345, written_at=AT - timedelta(seconds=8))],
        detectors=[{"product": "bottle_cap", "alias": "champion", "version": "3", "digest": "d"}],
        waiting_frames=3,
        dead_letters_last_hour=1,
    )
    console = Console(width=width)
    console.begin_capture()
    show(status, console)
    text = console.end_capture()
    assert max(len(line) for line in text.splitlines()) <= width
    for words in ("2 h", "240 ms", "5 min", "12,345", "8 s ago", "bottle_cap v3", "wait to be judged: 3"):
        assert words in text
