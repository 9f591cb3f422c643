"""Checkpoints on a local disk: put right where a power failure has torn them, and written without a process each.

Spark writes a batch's plan to `offsets/N` and its end to `commits/N`, and forces neither onto the disk: after a power
failure the newest files may be cut off or empty, and the query would refuse to start for good. Taking them away is
safe, because then their batch merely comes again: topics are written at least once, with ids that a replay repeats, and
tables by MERGE.

Hadoop without its native library, which pyspark does not bring, starts a `chmod` or a `readlink` for each step of each
file: a tenth of a second of a processor for each micro-batch, and as long before the next may begin. GlobalMentor's
"bare naked" local file system does the same in Java.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.settings import run_folder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

_LINES = {"offsets": 3, "commits": 2}
"""Lines of a whole file: its version, then JSON; of offsets, the batch's settings and a line for the source."""


_MANAGER = "spark.sql.streaming.checkpointFileManagerClass"
_IN_JAVA = {
    _MANAGER: "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager",
    "fs.file.impl": "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem",
    # Hadoop would give the one that the process has opened before, whatever is asked for
    "fs.file.impl.disable.cache": "true",
}


def prepare(spark: SparkSession, checkpoint: str) -> None:
    """Make a query's checkpoint ready for its start in this session; it must not be running. Raises as `mend`."""
    mend(checkpoint)
    if _folder(checkpoint) and not spark.conf.get(_MANAGER, None):
        for key, value in _IN_JAVA.items():
            spark.conf.set(key, value)


def mend(checkpoint: str) -> list[Path]:
    """Remove the torn files of a query's checkpoint; returns them. It must not be running.

    Only a local folder is looked at: object stores write a file wholly or not at all. Raises OSError where a file
    cannot be read or removed.
    """
    folder = _folder(checkpoint)
    if folder is None or not folder.is_dir():
        return []
    torn = [*_torn_identity(folder), *_torn_batches(folder)]
    for file in torn:
        log.warning("torn file of a checkpoint removed, its batch comes again", extra={"file": str(file)})
        file.unlink()
        # Hadoop's checksum of it
        file.with_name(f".{file.name}.crc").unlink(missing_ok=True)
    return torn


def note_beside(checkpoint: str, name: str) -> Path:
    """Where to keep a file of our own with a query's checkpoint: in it, or in the run folder where it is no folder."""
    return (_folder(checkpoint) or run_folder() / "checkpoints") / name


def _folder(checkpoint: str) -> Path | None:
    """None for one that is not on a local disk."""
    return None if "://" in checkpoint else Path(checkpoint.removeprefix("file:"))


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
