"""Logging for every process: one logger per module, structured fields through `extra=`."""

from __future__ import annotations

import logging
import sys

from pythonjsonlogger.json import JsonFormatter


def configure(process: str, *, level: str = "INFO") -> None:
    """Send JSON lines to stderr, each with time, level, logger and `process`; call once, in the composition root."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            "{asctime}{levelname}{name}{message}",
            style="{",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            static_fields={"process": process},
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for chatty in ("py4j", "kafka", "mlflow", "alembic", "httpx", "urllib3"):
        logging.getLogger(chatty).setLevel("WARNING")
