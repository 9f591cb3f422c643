"""What a process writes to its log, by the one section `[logs]`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from sightline import logs
from sightline.errors import SettingsError


@pytest.fixture(autouse=True)
def root_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def write() -> None:
    log = logging.getLogger("streaming.worker")
    log.debug("too much")
    log.info("frame judged", extra={"camera": "cam 1", "sequence": 41, "detector": "3"})


def test_json_lines_carry_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("score")
    write()
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert told.pop("time")
    assert told == {
        "level": "INFO", "logger": "streaming.worker", "message": "frame judged", "process": "score",
        "camera": "cam 1", "sequence": 41, "detector": "3",
    }  # fmt: skip


def test_text_lines_carry_them_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_LOGS_FORMAT", "text")
    monkeypatch.setenv("SIGHTLINE_LOGS_LEVEL", "DEBUG")
    logs.configure("score")
    write()
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("DEBUG   streaming.worker: too much")
    assert second.endswith('INFO    streaming.worker: frame judged camera="cam 1" sequence=41 detector=3')


def test_a_level_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_LOGS_LEVEL", "LOUD")
    with pytest.raises(SettingsError, match="SIGHTLINE_LOGS_LEVEL"):
        logs.configure("score")
