"""A process whose work hangs is started anew, and one that works is left alone."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from streaming import watchdog
from streaming.watchdog import Watchdog


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "_LOOK_SECONDS", 0.01)


def test_it_acts_when_nothing_is_heard() -> None:
    acted = threading.Event()
    with Watchdog(0.05, acted.set):
        assert acted.wait(10)


def test_it_leaves_work_alone_that_is_heard_of() -> None:
    acted = threading.Event()
    with Watchdog(0.5, acted.set) as dog:
        for _ in range(100):
            dog.heard()
            time.sleep(0.01)
    assert not acted.is_set()


SCRIPT = """
import os, sys, time
from streaming import watchdog
watchdog._LOOK_SECONDS = 0.01
print(os.getpid(), *sys.argv[1:], flush=True)
if os.environ.get("SECOND"):
    sys.exit(7)
os.environ["SECOND"] = "1"
with watchdog.Watchdog(0.05):
    time.sleep(60)
"""


def test_a_process_that_hangs_begins_anew_with_its_id_and_arguments_and_tells_where_it_hung() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "--fps", "5"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 7
    first, second = done.stdout.splitlines()
    assert first == second
    assert first.endswith("--fps 5")
    assert 'File "<string>", line 10' in done.stderr
