"""What a camera did, in a text file of its own: the witness of which the product knows nothing.

A line is `c SEQUENCE SECONDS PICTURE` when a frame is captured and `a SEQUENCE` when the broker has acknowledged it;
each is handed to the kernel before the camera goes on, so that it outlives a `kill -9`.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

SUFFIX = ".journal"


class Picture(StrEnum):
    """What a frame shows, and so what must become of it."""

    GOOD = "good"
    DEFECT = "defect"
    CUT = "cut"
    """Cut off in the middle: a dead letter."""


class Journal:
    """The journal of `camera` in `folder`, continued where an earlier process left it."""

    def __init__(self, folder: Path, camera: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / f"{camera}{SUFFIX}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def captured(self, sequence: int, picture: Picture) -> None:
        self._write(f"c {sequence} {time.time():.3f} {picture}\n")

    def acknowledged(self, sequence: int) -> None:
        self._write(f"a {sequence}\n")

    def close(self) -> None:
        os.close(self._file)

    def _write(self, line: str) -> None:
        os.write(self._file, line.encode())


@dataclass(slots=True)
class Sent:
    """What the journals of all cameras tell, by (camera, sequence); `captured` gives seconds since the epoch.

    `reused` are numbers that two frames were given.
    """

    captured: dict[tuple[str, int], float] = field(default_factory=dict)
    pictures: dict[tuple[str, int], Picture] = field(default_factory=dict)
    acknowledged: set[tuple[str, int]] = field(default_factory=set)
    reused: set[tuple[str, int]] = field(default_factory=set)


class JournalReader:
    """Reads what was added to the journals in `folder` since the last time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: defaultdict[Path, int] = defaultdict(int)
        self.sent = Sent()

    def update(self) -> Sent:
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            camera = path.name.removesuffix(SUFFIX)
            with path.open("rb") as file:
                file.seek(self._places[path])
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._places[path] += len(line)
                    self._take(camera, line.split())
        return self.sent

    def _take(self, camera: str, words: list[bytes]) -> None:
        key = camera, int(words[1])
        if words[0] == b"c":
            if key in self.sent.captured:
                self.sent.reused.add(key)
            self.sent.captured[key] = float(words[2])
            self.sent.pictures[key] = Picture(words[3].decode())
        else:
            self.sent.acknowledged.add(key)
