"""The registry's list out of its own file: only where its schema is the known one."""

from __future__ import annotations

import sqlite3

import pytest

from console.api.registry_reader import SCHEMA, listed
from models.registry import DIGEST_TAG
from sightline.errors import RegistryError
from sightline.settings import RegistrySettings


@pytest.fixture
def database(tmp_path):
    """MLflow's tables as far as they are read: two versions of one detector, one of a foreign model, one deleted."""
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(f"""
            CREATE TABLE alembic_version (version_num);
            INSERT INTO alembic_version VALUES ('{SCHEMA}');
            CREATE TABLE model_versions (name, version INTEGER, creation_time, run_id, current_stage, workspace);
            INSERT INTO model_versions VALUES
                ('sightline.washer', 9, 1000, 'a', 'None', 'default'),
                ('sightline.washer', 10, 2000, 'b', 'None', 'default'),
                ('sightline.washer', 11, 3000, 'b', 'Deleted_Internal', 'default'),
                ('other', 1, 1000, 'a', 'None', 'default');
            CREATE TABLE model_version_tags (name, version INTEGER, key, value);
            INSERT INTO model_version_tags VALUES
                ('sightline.washer', 9, '{DIGEST_TAG}', 'x'), ('sightline.washer', 10, '{DIGEST_TAG}', 'y'),
                ('sightline.washer', 11, '{DIGEST_TAG}', 'z'), ('other', 1, '{DIGEST_TAG}', 'w');
            CREATE TABLE registered_model_aliases (name, version INTEGER, alias);
            INSERT INTO registered_model_aliases VALUES ('sightline.washer', 9, 'champion');
            CREATE TABLE latest_metrics (run_uuid, key, value, is_nan);
            INSERT INTO latest_metrics VALUES ('a', 'auroc', 0.9, 0);
            CREATE TABLE params (run_uuid, key, value);
            INSERT INTO params VALUES ('a', 'method', 'padim');
        """)
    connection.close()
    return path


def settings(path):
    return RegistrySettings(tracking_uri=f"sqlite:///{path}")


def test_versions_come_newest_first_with_aliases_metrics_and_parameters(database) -> None:
    newest, older = listed(settings(database))
    assert (newest.detector.version, newest.detector.digest, newest.aliases, newest.metrics) == ("10", "y", (), {})
    assert (older.detector.product, older.aliases, older.metrics, older.params) == (
        "washer",
        ("champion",),
        {"auroc": 0.9},
        {"method": "padim"},
    )


def test_what_is_not_known_is_left_to_mlflow(database, tmp_path) -> None:
    assert listed(RegistrySettings(tracking_uri="http://127.0.0.1:5000")) is None
    assert listed(settings(tmp_path / "absent.db")) is None
    assert not (tmp_path / "absent.db").exists()
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'a later one'")
    connection.close()
    assert listed(settings(database)) is None


def test_a_file_that_is_no_database_is_a_fault_of_the_registry(tmp_path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(RegistryError, match=r"mlflow.db: .*not a database"):
        listed(settings(path))
