"""What `sightline doctor` looks at of the cameras' host: ledgers and spools."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from producers.settings import MEGABYTE, ProducerSettings
from sightline.diagnosis import Finding, fault, fine, warning


def spools() -> Iterator[Finding]:
    """Whether the spools can be written, and will have room when the broker is away."""
    settings = ProducerSettings.load()
    if not settings.spool_mb:
        yield warning(
            "spool", "off: an outage of the broker loses frames of live cameras", "set [producer] spool_mb above 0"
        )
        return
    folder = settings.spool_folder.absolute()
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(there).free // MEGABYTE - settings.spool_spare_mb
    waiting = sum(file.stat().st_size for file in folder.rglob("*.segment")) // MEGABYTE if folder.is_dir() else 0
    found = f"{folder}: {waiting} MB wait, {max(0, free)} MB for more"
    if not os.access(there, os.W_OK):
        yield fault("spool", f"{there} cannot be written", "correct its rights, or name another in [producer] spool")
    elif free < settings.spool_mb:
        yield warning(
            "spool", found, f"one camera may want {settings.spool_mb} MB: free some, or lower [producer] spool_mb"
        )
    else:
        yield fine("spool", found)


CHECKS = (spools,)
