"""What the training run of a version left: plots and reports, and what the gate said of it."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from console.api.problems import Problem, not_found
from sightline.settings import RegistrySettings

if TYPE_CHECKING:
    from models.run_files import RunFile

MOST_BYTES = 8 * 1024 * 1024
"""Of a file that is handed on; larger ones are MLflow's to serve."""

_TAGS = "sightline.retraining."
_BEGINS = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
}
"""What is handed on. Not among them: HTML and SVG, which could run as a page of this server, and bundles."""

FILE_TYPES = sorted({kind.partition(";")[0] for kind in _TYPES.values()})


class Records(Protocol):
    """What of `models.run_files` is used here; a test may put something else in its place."""

    def tags(self, run_id: str, settings: RegistrySettings) -> dict[str, str]: ...
    def files(self, run_id: str, settings: RegistrySettings) -> list[RunFile]: ...
    def read(self, run_id: str, path: str, settings: RegistrySettings) -> bytes: ...


class Gate(NamedTuple):
    """The verdict of the gate on a version that a retraining made; `result` as `models.retrain.Result` names it."""

    result: str
    why: str
    champion: str
    policy: str


class RunRecords:
    """Files and tags of training runs; every method may take as long as the registry does, and raises RegistryError."""

    def __init__(self, settings: RegistrySettings, records: Records | None = None) -> None:
        """`records` is `models.registry_reader.RunReader` unless another is given."""
        self._settings = settings
        self._records = records or _records()

    def gate(self, card: dict[str, Any]) -> Gate | None:
        """What the gate said of the version with this card; None where no retraining made it, so no gate judged it."""
        if (run_id := card.get("run_id")) is None:
            return None
        tags = self._records.tags(run_id, self._settings)
        if _TAGS + "result" not in tags:
            return None
        return Gate(*(tags.get(_TAGS + name, "") for name in Gate._fields))

    def files(self, card: dict[str, Any]) -> list[RunFile]:
        """The run's files that can be handed on."""
        if (run_id := card.get("run_id")) is None:
            return []
        return [
            file
            for file in self._records.files(run_id, self._settings)
            if file.size <= MOST_BYTES and PurePosixPath(file.path).suffix.lower() in _TYPES
        ]

    def file(self, card: dict[str, Any], path: str) -> tuple[bytes, str]:
        """Bytes and media type of a file that `files` lists.

        Raises Problem 404 for any other, 415 for a picture that is none.
        """
        if path not in {file.path for file in self.files(card)}:
            raise not_found(
                "file of this version's run",
                path,
                f"pictures, JSON, CSV and text of up to {MOST_BYTES >> 20} MB are handed on; MLflow has the others",
            )
        data = self._records.read(card["run_id"], path, self._settings)
        kind = _TYPES[PurePosixPath(path).suffix.lower()]
        if not data.startswith(_BEGINS.get(kind, b"")) or len(data) > MOST_BYTES:
            raise Problem(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not-as-named", f"{path!r} does not hold what its name says"
            )
        return data, kind


def _records() -> Records:
    from models.registry_reader import RunReader

    return RunReader()
