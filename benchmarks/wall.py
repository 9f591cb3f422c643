"""The console's wall with 50 cameras at 15 frames/s behind it, and how soon an alert is on a screen.

A real broker, a real `sightline serve` and Chromium; instead of the score query, one process writes frames and their
inspections to the topics, both in one go: what is measured begins at the topics. `python -m benchmarks.wall` prints it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from rich.console import Console

from benchmarks.line import PRODUCT
from benchmarks.measured import Part, percentiles
from benchmarks.pictures import Pictures, simulated
from infra import ports
from infra.broker import BrokerSettings, EmbeddedBroker
from infra.processes import ManagedProcess
from infra.topics import ensure_topics
from sightline import codec, samples
from sightline.codec import digest_id
from sightline.contracts import HeatMap, Verdict
from sightline.errors import PrerequisiteError, SightlineError
from sightline.settings import KafkaSettings

CAMERAS = 50
RATE = 15.0
ALERT_EVERY = 2.0
PASSWORD = "only for the benchmark"

_WATCH = """
window.longTasks = []; window.gaps = [];
new PerformanceObserver(list => { for (const entry of list.getEntries()) longTasks.push(entry.duration); })
    .observe({type: "longtask", buffered: true});
let last = performance.now();
requestAnimationFrame(function frame(now) { gaps.push(now - last); last = now; requestAnimationFrame(frame); });
"""
_ARRIVALS = """
window.arrived = {};
new MutationObserver(() => requestAnimationFrame(() => {
    for (const row of document.querySelectorAll("li.alert")) arrived[row.dataset.id] ??= Date.now();
})).observe(document.getElementById("groups"), {childList: true, subtree: true});
"""


def measure(folder: Path, console: Console, *, seconds: float = 60.0) -> Part:
    """Long tasks and frames of the wall, the delay of alerts, and what the server takes."""
    part = Part(f"wall, {CAMERAS} cameras at {RATE:g} frames/s")
    with EmbeddedBroker(BrokerSettings.load(folder=folder / "kafka")) as broker:
        kafka = KafkaSettings.load(bootstrap=broker.bootstrap, topic_prefix=f"w{int(time.time())}.")
        ensure_topics(kafka)
        port = ports.free_port("127.0.0.1")
        environment = {
            "SIGHTLINE_RUN": str(folder),
            "SIGHTLINE_API_PORT": str(port),
            "SIGHTLINE_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "SIGHTLINE_KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
        }
        _make_admin({**os.environ, **environment})
        server = ManagedProcess("serve", "console", ["serve"], environment=environment, log_folder=folder / "logs")
        address = f"http://127.0.0.1:{port}"
        context = multiprocessing.get_context("spawn")
        halt = context.Event()
        load = context.Process(target=_send, args=(kafka, simulated(PRODUCT, 256, 256, 60), halt), daemon=True)
        began = time.perf_counter()
        server.start()
        try:
            _wait(f"{address}/login", server)
            part.add("start to first page", time.perf_counter() - began, "s", most=5)
            load.start()
            _look(address, kafka, seconds, part, console)
            part.add("server memory", server.sample_memory() / 1e6, "MB", most=300)
        finally:
            halt.set()
            if load.pid:
                load.join(30)
            server.stop()
    return part


def _look(address: str, kafka: KafkaSettings, seconds: float, part: Part, console: Console) -> None:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        raise PrerequisiteError("no Chromium on the PATH; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        wall, feed = (_log_in(browser, address, _WATCH) for _ in range(2))
        wall.locator("li[data-camera]").nth(CAMERAS - 1).wait_for(timeout=60_000)
        feed.goto(f"{address}/alerts")
        feed.evaluate(_ARRIVALS)
        time.sleep(5)  # the first pictures
        wall.evaluate("longTasks.length = gaps.length = 0")
        sent = _alerts(kafka, seconds)
        tasks, gaps = wall.evaluate("[longTasks, gaps]")
        time.sleep(2)
        arrived = feed.evaluate("arrived")
        rate = wall.locator("#counts").inner_text()
        blank = wall.locator(".age", has_text="no picture yet").count()
        browser.close()
    console.log(f"the wall says: {rate}")
    delays = [(arrived[alert] / 1000 - at) * 1000 for alert, at in sent.items() if alert in arrived]
    part.add("longest task of the wall", max(tasks, default=0.0), "ms", most=200)
    part.add("tasks over 50 ms", len(tasks) / seconds, "/s")
    part.add("animation frames", len(gaps) / seconds, "/s")
    for name, value in percentiles(gaps, (50, 99)).items():
        part.add(f"between two frames {name}", value, "ms")
    for name, value in percentiles(delays, (50, 100)).items():
        part.add(f"alert from topic to screen {name}", value, "ms", **({"most": 1000} if name == "p100" else {}))
    if blank:
        part.faults.append(f"{blank} of {CAMERAS} cameras had no picture")
    if len(delays) < len(sent):
        part.faults.append(f"{len(sent) - len(delays)} of {len(sent)} alerts did not come to the screen")


def _log_in(browser: Any, address: str, script: str) -> Any:
    """A page in a window of its own: browsers slow down what stands behind another tab."""
    page = browser.new_context(viewport={"width": 1440, "height": 2400}).new_page()
    page.add_init_script(script)
    page.goto(f"{address}/login")
    page.get_by_label("Name").fill("bench")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{address}/")
    return page


def _alerts(kafka: KafkaSettings, seconds: float) -> dict[str, float]:
    """Open incidents one after the other; when the broker had each, in Unix time."""
    from confluent_kafka import Producer

    producer = Producer(kafka.librdkafka(**{"enable.idempotence": True, "linger.ms": 0}))
    sent = {}
    for number in range(int(seconds / ALERT_EVERY)):
        now = datetime.now(UTC)
        camera = f"cam-{number % CAMERAS:02d}"
        alert = replace(samples.alert(camera), alert_id=digest_id(camera, now), opened_at=now, updated_at=now)
        producer.produce(kafka.topics.alerts, key=alert.alert_id, value=codec.encode(alert))
        producer.flush()
        sent[alert.alert_id] = time.time()
        time.sleep(ALERT_EVERY)
    return sent


def _send(kafka: KafkaSettings, pictures: Pictures, halt: Event) -> None:
    """Frames and inspections of all cameras, evenly spread, until `halt`."""
    from confluent_kafka import Producer

    producer = Producer(kafka.librdkafka(**{"enable.idempotence": True, "linger.ms": 20, "compression.type": "none"}))
    rows, columns = np.mgrid[0:64, 0:64]
    spot = 255 * np.exp(-((rows - 40) ** 2 + (columns - 24) ** 2) / 60)
    heat = HeatMap(rows=64, cols=64, scale=1.0, values=spot.astype(np.uint8).tobytes())
    topics, step, due = kafka.topics, 0, time.time()
    while not halt.is_set():
        sequence, number = divmod(step, CAMERAS)
        camera, now = f"cam-{number:02d}", datetime.now(UTC)
        verdict = Verdict.DEFECT if (sequence + number) % 40 == 0 else Verdict.OK
        event = replace(
            samples.inspection(camera, sequence, verdict=verdict, score=0.9 if verdict is Verdict.DEFECT else 0.2),
            captured_at=now - timedelta(milliseconds=250),
            heat_map=heat,
        )
        frame = replace(
            samples.frame(camera, sequence),
            captured_at=event.captured_at,
            width=pictures.width,
            height=pictures.height,
            jpeg=pictures.jpegs[(7 * number + sequence) % len(pictures.jpegs)],
        )
        producer.produce(topics.frames, key=camera, value=frame.jpeg, headers=codec.frame_headers(frame))
        producer.produce(topics.inspections, key=camera, value=codec.encode(event))
        producer.poll(0)
        step += 1
        due += 1 / (CAMERAS * RATE)
        if (wait := due - time.time()) > 0:
            time.sleep(wait)
    producer.flush(10)


def _make_admin(environment: dict[str, str]) -> None:
    command: list[Any] = [sys.executable, "-m", "console", "users", "create-admin", "bench", "--password-stdin"]
    answer = subprocess.run(command, env=environment, input=PASSWORD, capture_output=True, text=True, check=False)
    if answer.returncode and "already" not in answer.stderr:
        raise SightlineError(f"no user could be made:\n{answer.stderr[-1000:]}")


def _wait(address: str, server: ManagedProcess) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.running:
        try:
            if httpx2.get(address, timeout=1).status_code == 200:
                return
        except httpx2.HTTPError:
            time.sleep(0.05)
    raise SightlineError(f"the console did not come up; see {server.log_file}")


def main() -> int:
    """Measure, print a table, write `wall.json` beside it; 1 when an alert was lost."""
    from benchmarks.measured import machine, show, write_json
    from sightline.settings import run_folder

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    folder, console = (run_folder() / "bench" / "wall").absolute(), Console()
    part = measure(folder, console, seconds=seconds)
    write_json(folder / "wall.json", machine(), [part])
    show(console, part)
    return 1 if part.faults else 0


if __name__ == "__main__":
    sys.exit(main())
