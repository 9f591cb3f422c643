"""Frames of a source into a folder of JPEGs, to learn from."""

from __future__ import annotations

import shutil
from pathlib import Path

from producers import jpeg
from producers.sources import Captured, FrameSource
from sightline.errors import SourceError


def record(source: FrameSource, folder: Path, *, frames: int, every: int = 1, quality: int = 95) -> int:
    """Write every `every`-th of the next frames of `source`, `frames` in all, to the new folder `folder`.

    The folder appears when it is complete. Returns how many were written, fewer when the source ended before; raises
    SourceError when there was none, or when the folder exists.
    """
    if folder.exists():
        raise SourceError(f"{str(folder)!r} exists; name a new folder, or remove it to record again")
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    source.open()
    try:
        written = _write(source, unfinished, frames, every, quality)
    finally:
        source.close()
    if not written:
        raise SourceError(f"{source.name} gave no frame that can be recorded")
    unfinished.rename(folder)
    return written


def _write(source: FrameSource, folder: Path, frames: int, every: int, quality: int) -> int:
    written = seen = 0
    while written < frames and (shot := source.read()) is not None:
        seen += 1
        if not isinstance(shot, Captured) or (seen - 1) % every:
            continue
        data = shot.picture if isinstance(shot.picture, bytes) else jpeg.encode(shot.picture, quality)
        (folder / f"frame-{seen:06d}.jpg").write_bytes(data)
        written += 1
    return written
