"""The product as a user runs it: the demo on photographs, and a simulated line whose parts are killed and replaced."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import psutil
import pytest

from infra import lines
from infra.deployment import Deployment

CAMERAS = 4

# two trainings, two JVMs and a killed one: minutes even on a quiet machine
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def own_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder of this test alone."""
    monkeypatch.setenv("SIGHTLINE_RUN", str(tmp_path / "run"))
    monkeypatch.setenv("SIGHTLINE_BROKER_FREE_DISK_MB", "500")
    return tmp_path / "run"


def sightline(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "sightline", *arguments], capture_output=True, text=True, check=False, timeout=300
    )
    assert not check or done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
    return done


def rows(sql: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in sightline("query", sql, "--json").stdout.splitlines()]


def wait_for(what: Callable[[], object], seconds: float = 120) -> None:
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.3)


def test_a_line_survives_a_killed_scorer_and_a_new_champion(own_run: Path) -> None:
    line = lines.simulated("bottle_cap", cameras=CAMERAS, fps=4)
    for command in line.prepare:
        subprocess.run([sys.executable, "-m", "producers", *command], check=True)
    train = ("train", str(line.good_frames), "--product", line.product)
    sightline(*train)
    with Deployment(line.produce) as deployment:
        feed = deployment.start(Event())
        deployment.producers.start()
        wait_for(lambda: feed.inspected() > 100)

        scorer = psutil.Process(deployment.score.pid)
        victims = [scorer, *scorer.children(recursive=True)]
        for victim in victims:
            victim.kill()
        psutil.wait_procs(victims, timeout=20)
        deployment.score.stop()
        deployment.score.start()
        before = feed.inspected()
        wait_for(lambda: feed.inspected() > before + 100, 120)

        sightline(*train, "--false-alarm-rate", "0.02")
        wait_for(lambda: feed.view.detectors.get("bottle_cap") == "2")

        deployment.drain(feed)
        account = json.loads(sightline("verify", "--wait", "120", "--json").stdout)
        deployment.history.stop()

    assert account["clean"], account
    # the proof holds without a broker, from the tables alone
    assert "tables alone" in sightline("verify").stdout
    versions = rows("SELECT DISTINCT detector.version AS version FROM inspections ORDER BY version")
    assert [row["version"] for row in versions] == ["1", "2"]
    (doubles,) = rows("SELECT count(*) - count(DISTINCT (camera, sequence)) AS n FROM inspections")
    assert doubles["n"] == 0
    (frames,) = rows("SELECT count(DISTINCT camera) AS cameras, count(*) AS n FROM inspections")
    assert frames["cameras"] == CAMERAS
    (alerts,) = rows("SELECT count(*) AS n, count(DISTINCT alert_id) AS ids FROM alerts")
    assert alerts["n"] == alerts["ids"]
    assert list((own_run / "alerts").glob("*.jpg")), "no alert left a picture"
    report = json.loads(sightline("report", "--json").stdout)
    assert report["overall"]["auroc"] > 0.9, report


def test_the_demo_on_photographs_ends_with_its_own_account(own_run: Path, shared_data: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "infra", "demo", "--images", str(shared_data / "castings"), "--fps", "4"],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"AUROC", done.stdout), done.stdout
    (frames,) = rows("SELECT count(*) AS n FROM inspections WHERE product = 'castings'")
    assert frames["n"] == 100
    report = json.loads(sightline("report", "--product", "castings", "--json").stdout)
    # castings lie in any pose, which PaDiM cannot learn well: docs/detectors.md has the figures
    assert report["overall"]["auroc"] > 0.8, report
    assert not [process for process in psutil.process_iter(["cmdline"]) if _belongs(process, own_run)]


def test_ctrl_c_stops_the_demo_cleanly(own_run: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "infra", "demo", "--cameras", "2", "--fps", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert demo.stdout is not None
    said = ""
    for text in demo.stdout:
        said += text
        if re.search(r"[1-9]\d* frames inspected", text):
            break
    demo.send_signal(signal.SIGINT)
    rest, _ = demo.communicate(timeout=240)
    assert demo.returncode == 0, said + rest
    assert "Stopped." in rest
    assert sightline("verify").returncode == 0


def _belongs(process: psutil.Process, run: Path) -> bool:
    return any(str(run) in part for part in process.info["cmdline"] or ())
