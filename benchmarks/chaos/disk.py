"""A small disk of its own that can be filled to the last byte and emptied again: a tmpfs, which needs root."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from sightline.errors import PrerequisiteError

_BALLAST = ".ballast"
_PIECE = bytes(256 * 1024)


class SmallDisk:
    """A tmpfs of `mebibytes` at `folder`, unmounted by `close`. Raises PrerequisiteError where mounting is refused."""

    def __init__(self, folder: Path, mebibytes: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "sightline-chaos", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PrerequisiteError(
                f"a small disk cannot be mounted at {folder} ({done.stderr.strip()}); run as root, or leave out the "
                "faults of full disks"
            )

    def fill(self) -> None:
        """Leave not one byte."""
        file = os.open(self.folder / _BALLAST, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for piece in (_PIECE, bytes(4096), b"\0"):
                while True:
                    try:
                        os.write(file, piece)
                    except OSError:
                        break
        finally:
            os.close(file)

    def free(self) -> None:
        """Give the space back."""
        (self.folder / _BALLAST).unlink(missing_ok=True)

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], capture_output=True, check=False)
