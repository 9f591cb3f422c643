"""The registry without MLflow's client in this process: that takes 170 MB and seconds to import.

The list comes out of the registry's own database file, of the one schema that is known here, and only read. What is
rarer, the client does in a process of its own that ends with its answer. Where the list cannot be read so, the client
is needed every few seconds, and lives here after all.
"""

from __future__ import annotations

import sqlite3
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from models import registry
from models.registry import DIGEST_TAG, PRODUCT_TAG, RegisteredDetector, RegistryEntry
from sightline.errors import RegistryError
from sightline.settings import RegistrySettings

P = ParamSpec("P")
T = TypeVar("T")

SCHEMA = "dc11669786a5"
"""The revision of MLflow's tables that `listed` reads, that of MLflow 3.17."""

_SCHEME = "sqlite:///"
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

    def set_champion(self, product: str, version: str, settings: RegistrySettings) -> RegisteredDetector:
        """As `models.registry.set_champion`."""
        return _beside(registry.set_champion, product, version, settings)

    def roll_back(self, product: str, settings: RegistrySettings) -> RegisteredDetector:
        """As `models.registry.roll_back`."""
        return _beside(registry.roll_back, product, settings)

    def fetch(self, detector: RegisteredDetector, folder: Path, settings: RegistrySettings) -> Path:
        """As `models.registry.fetch`."""
        return folder if registry.holds(folder, detector) else _beside(registry.fetch, detector, folder, settings)


def _beside(do: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """What `do` returns or raises, in a process of its own; in this one where MLflow is here already."""
    if "mlflow" in sys.modules:
        return do(*arguments, **options)
    with ProcessPoolExecutor(1, get_context("spawn")) as one:
        return one.submit(do, *arguments, **options).result()


def listed(settings: RegistrySettings) -> list[RegistryEntry] | None:
    """What `models.registry.entries` gives, None where the database is not a local file of the known schema.

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
            return list(_entries(connection, settings))
    except sqlite3.Error as error:
        raise RegistryError(f"registry {settings.tracking_uri}: {error}; see that the file can be read") from error


def _schema(connection: sqlite3.Connection) -> str | None:
    try:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return None
    return str(found[0]) if found else None


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
        product = own.get(PRODUCT_TAG) or name.removeprefix(settings.model_prefix)
        yield RegistryEntry(
            RegisteredDetector(name, product, str(version), own[DIGEST_TAG]),
            tuple(aliases[name, version]),
            datetime.fromtimestamp(created / 1000, UTC),
            dict(metrics.get(run, {})),
            dict(params.get(run, {})),
        )
