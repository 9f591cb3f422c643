"""Logging for every process: one logger per module, structured fields through `extra=`."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, ClassVar, Literal

from pythonjsonlogger.json import JsonFormatter

from sightline.settings import Section


class LogSettings(Section):
    """How every process logs."""

    section: ClassVar[str] = "logs"

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "text"] = "json"
    """`json` for machines, one object a line; `text` for whoever reads along in a terminal."""


def configure(process: str) -> None:
    """Send lines to stderr, each with time, level, logger, `process` and the fields of `extra=`, as `[logs]` says.

    Call once, in the composition root; raises SettingsError.
    """
    settings = LogSettings.load()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(process) if settings.format == "json" else _TextFormatter())
    logging.basicConfig(level=settings.level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for chatty in ("py4j", "kafka", "mlflow", "alembic", "httpx", "urllib3"):
        logging.getLogger(chatty).setLevel("WARNING")


def _formatter(process: str) -> JsonFormatter:
    return JsonFormatter(
        "{asctime}{levelname}{name}{message}",
        style="{",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        static_fields={"process": process},
    )


class _TextFormatter(logging.Formatter):
    """Time, level, logger and message, then the fields as key=value."""

    _OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - as logging names it
        extra = {key: value for key, value in vars(record).items() if key not in self._OWN}
        return " ".join([super().formatMessage(record), *(f"{key}={_plain(value)}" for key, value in extra.items())])


def _plain(value: Any) -> str:
    text = str(value)
    return text if text and text.isprintable() and " " not in text else json.dumps(text, ensure_ascii=False)
