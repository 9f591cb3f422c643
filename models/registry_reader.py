"""The registry without MLflow's client in this process: that takes 170 MB and seconds to import.

What is asked for often comes out of the registry's own database file, of the one schema that is known here and only
read, and out of the folders of artifacts that it names. What is rarer, the client does in a process of its own that
ends with its answer. Where the list cannot be read so, the client is needed every few seconds, and lives here after
all.
"""

from __future__ import annotations

import logging
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from models import registry, run_files
from models.registry import DIGEST_TAG, PRODUCT_TAG, RegisteredDetector, RegistryEntry
from models.run_files import RunFile
from sightline.errors import RegistryError
from sightline.settings import RegistrySettings

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

SCHEMA = "dc11669786a5"
"""The revision of MLflow's tables that is known here, that of MLflow 3.17."""

_SCHEME = "sqlite:///"
_NAMED = "SELECT name, version FROM registered_model_aliases WHERE alias = ? ORDER BY name"
_VERSION_TAGS = "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?"
_STORED = "SELECT coalesce(storage_location, source) FROM model_versions WHERE name = ? AND version = ?"
_ARTIFACTS = "SELECT artifact_uri FROM runs WHERE run_uuid = ?"
_TAGS = "SELECT key, value FROM tags WHERE run_uuid = ?"
_NEWEST = 100
_VERSIONS = """
SELECT name, version, creation_time, run_id FROM model_versions
WHERE workspace = 'default' AND current_stage <> 'Deleted_Internal' ORDER BY name, version DESC
"""


class RegistryReader:
    """`models.registry`, whose list is read directly where that can be, and whose client runs beside this process."""

    def entries(self, settings: RegistrySettings) -> list[RegistryEntry]:
        """As `models.registry.entries`."""
        found = listed(settings)
        return registry.entries(settings) if found is None else found

    def named(self, alias: str, settings: RegistrySettings) -> dict[str, RegisteredDetector]:
        """As `models.registry.named`."""
        found = _asked(settings, lambda connection: _named(connection, alias, settings))
        return registry.named(alias, settings) if found is None else found

    def set_champion(self, product: str, version: str, settings: RegistrySettings) -> RegisteredDetector:
        """As `models.registry.set_champion`."""
        return _beside(registry.set_champion, product, version, settings)

    def roll_back(self, product: str, settings: RegistrySettings) -> RegisteredDetector:
        """As `models.registry.roll_back`."""
        return _beside(registry.roll_back, product, settings)

    def fetch(self, detector: RegisteredDetector, folder: Path, settings: RegistrySettings) -> Path:
        """As `models.registry.fetch`."""
        if registry.holds(folder, detector):
            return folder
        stored = _folder(settings, _STORED, detector.name, detector.version)
        if stored is None:
            return _beside(registry.fetch, detector, folder, settings)
        return registry.place(detector, folder, lambda _: stored)


class RunReader:
    """`models.run_files`, read directly where that can be."""

    def tags(self, run_id: str, settings: RegistrySettings) -> dict[str, str]:
        """As `models.run_files.tags`."""
        found = _asked(settings, lambda connection: dict(connection.execute(_TAGS, (run_id,)).fetchall()))
        return found or _beside(run_files.tags, run_id, settings)

    def files(self, run_id: str, settings: RegistrySettings) -> list[RunFile]:
        """As `models.run_files.files`."""
        folder = _folder(settings, _ARTIFACTS, run_id)
        return _beside(run_files.files, run_id, settings) if folder is None else run_files.below(folder)

    def read(self, run_id: str, path: str, settings: RegistrySettings) -> bytes:
        """As `models.run_files.read`."""
        folder = _folder(settings, _ARTIFACTS, run_id)
        if folder is None or path not in {file.path for file in run_files.below(folder)}:
            return _beside(run_files.read, run_id, path, settings)
        try:
            return (folder / path).read_bytes()
        except OSError as error:
            raise RegistryError(f"{folder / path} cannot be read: {error.strerror or error}") from error


def _beside(do: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """What `do` returns or raises, in a process of its own; in this one where MLflow is here already.

    Raises RegistryError when that process is killed.
    """
    if "mlflow" in sys.modules:
        return do(*arguments, **options)
    try:
        with ProcessPoolExecutor(1, get_context("spawn")) as one:
            return one.submit(do, *arguments, **options).result()
    except BrokenProcessPool as error:
        raise RegistryError("the process that asked the registry was killed; see that there is memory left") from error


def listed(settings: RegistrySettings) -> list[RegistryEntry] | None:
    """What `models.registry.entries` gives, None where the database is not a local file of the known schema.

    Raises RegistryError when the file cannot be read.
    """
    return _asked(settings, lambda connection: list(_entries(connection, settings)))


def _asked(settings: RegistrySettings, question: Callable[[sqlite3.Connection], T]) -> T | None:
    """What `question` finds at one moment, None where the database is not a local file of the known schema.

    Raises RegistryError when the file cannot be read.
    """
    if not settings.tracking_uri.startswith(_SCHEME):
        return None
    path = Path(settings.tracking_uri.removeprefix(_SCHEME)).absolute()
    if not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            if _schema(connection) != SCHEMA:
                return None
            # one transaction: an alias that moves meanwhile must not stand on two versions, or on none
            connection.execute("BEGIN")
            return question(connection)
    except sqlite3.Error as error:
        raise RegistryError(f"registry {settings.tracking_uri}: {error}; see that the file can be read") from error


def _folder(settings: RegistrySettings, sql: str, *values: str) -> Path | None:
    """The folder on this machine that `sql` finds the address of; None where there is none."""
    found = _asked(settings, lambda connection: connection.execute(sql, values).fetchone())
    address = urlsplit(found[0] or "") if found else None
    if address is None or address.scheme not in ("", "file") or address.netloc not in ("", "localhost"):
        return None
    folder = Path(url2pathname(address.path))
    return folder if folder.is_absolute() and folder.is_dir() else None


def _schema(connection: sqlite3.Connection) -> str | None:
    try:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return None
    return str(found[0]) if found else None


def _named(connection: sqlite3.Connection, alias: str, settings: RegistrySettings) -> dict[str, RegisteredDetector]:
    found = {}
    for name, version in connection.execute(_NAMED, (alias,)).fetchall():
        if not name.startswith(settings.model_prefix):
            continue
        tags = dict(connection.execute(_VERSION_TAGS, (name, version)).fetchall())
        if DIGEST_TAG not in tags:
            log.warning("%s passed over: it was not registered by Sightline", alias, extra={"detector": name})
            continue
        detector = _detector(name, version, tags, settings)
        found[detector.product] = detector
    return found


def _detector(name: str, version: int, tags: Mapping[str, str], settings: RegistrySettings) -> RegisteredDetector:
    product = tags.get(PRODUCT_TAG) or name.removeprefix(settings.model_prefix)
    return RegisteredDetector(name, product, str(version), tags[DIGEST_TAG])


def _entries(connection: sqlite3.Connection, settings: RegistrySettings) -> Iterator[RegistryEntry]:
    tags: dict[Any, dict[str, str]] = defaultdict(dict)
    for name, version, key, value in connection.execute("SELECT name, version, key, value FROM model_version_tags"):
        tags[name, version][key] = value
    aliases: dict[Any, list[str]] = defaultdict(list)
    for name, version, alias in connection.execute(
        "SELECT name, version, alias FROM registered_model_aliases ORDER BY alias"
    ):
        aliases[name, version].append(alias)
    metrics: dict[str, dict[str, float]] = defaultdict(dict)
    for run, key, number, is_nan in connection.execute("SELECT run_uuid, key, value, is_nan FROM latest_metrics"):
        metrics[run][key] = float("nan") if is_nan else float(number)
    params: dict[str, dict[str, str]] = defaultdict(dict)
    for run, key, value in connection.execute("SELECT run_uuid, key, value FROM params"):
        params[run][key] = value
    seen: dict[str, int] = defaultdict(int)
    for name, version, created, run in connection.execute(_VERSIONS):
        seen[name] += 1
        own = tags[name, version]
        if not name.startswith(settings.model_prefix) or seen[name] > _NEWEST or DIGEST_TAG not in own:
            continue
        yield RegistryEntry(
            _detector(name, version, own, settings),
            tuple(aliases[name, version]),
            datetime.fromtimestamp(created / 1000, UTC),
            dict(metrics.get(run, {})),
            dict(params.get(run, {})),
        )
