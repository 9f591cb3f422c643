"""What a run in MLflow keeps beside its metrics: tags, and files such as plots and reports."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from models.registry import connected
from sightline.errors import RegistryError
from sightline.settings import RegistrySettings

MOST_FILES = 500


@dataclass(frozen=True, slots=True)
class RunFile:
    """A file of a run; `path` is relative to its artifacts, `size` in bytes."""

    path: str
    size: int


def tags(run_id: str, settings: RegistrySettings) -> dict[str, str]:
    """All tags of a run; raises RegistryError."""
    with connected(settings) as client:
        return dict(client.get_run(run_id).data.tags)


def files(run_id: str, settings: RegistrySettings) -> list[RunFile]:
    """The files of a run, at most MOST_FILES, by path; raises RegistryError."""
    found: list[RunFile] = []
    with connected(settings) as client:
        folders = [""]
        while folders and len(found) < MOST_FILES:
            for item in client.list_artifacts(run_id, folders.pop() or None):
                if item.is_dir:
                    folders.append(item.path)
                else:
                    found.append(RunFile(item.path, int(item.file_size or 0)))
    return sorted(found[:MOST_FILES], key=lambda file: file.path)


def below(folder: Path) -> list[RunFile]:
    """As `files`, of a run whose artifacts lie in `folder` on this machine."""
    found = (path for path in folder.rglob("*") if path.is_file())
    listed = [RunFile(path.relative_to(folder).as_posix(), path.stat().st_size) for path in islice(found, MOST_FILES)]
    return sorted(listed, key=lambda file: file.path)


def read(run_id: str, path: str, settings: RegistrySettings) -> bytes:
    """The bytes of a file that `files` lists; raises RegistryError for any other."""
    if path not in {file.path for file in files(run_id, settings)}:
        raise RegistryError(f"run {run_id} has no file {path!r}")
    with tempfile.TemporaryDirectory(prefix="sightline-run-") as folder, connected(settings) as client:
        return Path(client.download_artifacts(run_id, path, folder)).read_bytes()
