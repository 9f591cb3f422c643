"""Checkpoints that a power failure has torn, put right before their query starts.

Spark writes a batch's plan to `offsets/N` and its end to `commits/N`, and forces neither onto the disk: after a power
failure the newest files may be cut off or empty, and the query would refuse to start for good. Taking them away is
safe, because then their batch merely comes again: topics are written at least once, with ids that a replay repeats, and
tables by MERGE.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

_LINES = {"offsets": 3, "commits": 2}
"""Lines of a whole file: its version, then JSON; of offsets, the batch's settings and a line for the source."""


def mend(checkpoint: str) -> list[Path]:
    """Remove the torn files of a query's checkpoint; returns them. It must not be running.

    Only a local folder is looked at: object stores write a file wholly or not at all. Raises OSError where a file
    cannot be read or removed.
    """
    folder = Path(checkpoint.removeprefix("file:"))
    if "://" in checkpoint or not folder.is_dir():
        return []
    torn = [*_torn_identity(folder), *_torn_batches(folder)]
    for file in torn:
        log.warning("torn file of a checkpoint removed, its batch comes again", extra={"file": str(file)})
        file.unlink()
        # Hadoop's checksum of it
        file.with_name(f".{file.name}.crc").unlink(missing_ok=True)
    return torn


def _torn_identity(folder: Path) -> Iterator[Path]:
    file = folder / "metadata"
    if file.is_file() and not _is_json(file.read_bytes()):
        yield file


def _torn_batches(folder: Path) -> Iterator[Path]:
    planned = _batches(folder / "offsets")
    torn = {number for number, file in planned.items() if not _is_whole(file, _LINES["offsets"])}
    sound = planned.keys() - torn
    yield from (planned[number] for number in sorted(torn))
    newest = max(sound, default=-1)
    for number, file in sorted(_batches(folder / "commits").items()):
        # the end of a batch without its plan is as bad as a torn one
        if number > newest or not _is_whole(file, _LINES["commits"]):
            yield file


def _batches(folder: Path) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    return {int(file.name): file for file in folder.iterdir() if file.name.isdecimal()}


def _is_whole(file: Path, lines: int) -> bool:
    version, *rest = file.read_bytes().split(b"\n")
    return version[:1] == b"v" and len(rest) + 1 >= lines and all(map(_is_json, rest))


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True
