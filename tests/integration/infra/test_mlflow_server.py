"""The MLflow server of the compose file, started with its own command, answers under the names that it is asked by."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from infra.ports import free_port

COMPOSE = Path(__file__).resolve().parents[3] / "docker-compose.yml"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server, on a free port of loopback and with its files in a folder of its own."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    service = yaml.safe_load(COMPOSE.read_text())["services"]["mlflow"]
    here = [
        word.replace("/var/lib/sightline", str(folder)).replace("=5000", f"={port}").replace("0.0.0.0", "127.0.0.1")
        for word in service["command"]
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *here], env={**os.environ, **service["environment"]}, stdout=log, stderr=log
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 300
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)


@pytest.mark.parametrize("host", ["mlflow:5000", "127.0.0.1:5000"])
def test_it_answers_under_the_names_of_the_compose_file(server: str, host: str) -> None:
    assert _search(server, host) == 200


def test_it_does_not_answer_a_page_that_lends_it_another_name(server: str) -> None:
    assert _search(server, "rebound.example.com") == 403


def _search(server: str, host: str) -> int:
    request = urllib.request.Request(
        f"{server}/api/2.0/mlflow/experiments/search?max_results=1", headers={"Host": host}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
