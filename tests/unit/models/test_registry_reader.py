"""The registry's list out of its own file: only where its schema is the known one."""

from __future__ import annotations

import os
import sqlite3
import sys

import pytest

from models import registry, registry_reader, run_files
from models.doubles import write_brightness_bundle
from models.registry import DIGEST_TAG, RegisteredDetector
from models.registry_reader import SCHEMA, RegistryReader, RunReader, listed
from models.run_files import RunFile
from models.runtime.card import BUNDLE_FILES, CARD_FILE, bundle_digest
from sightline.errors import DetectorError, RegistryError
from sightline.settings import RegistrySettings


@pytest.fixture
def database(tmp_path):
    """MLflow's tables as far as they are read: two versions of one detector, one of a foreign model, one deleted."""
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(f"""
            CREATE TABLE alembic_version (version_num);
            INSERT INTO alembic_version VALUES ('{SCHEMA}');
            CREATE TABLE model_versions (
                name, version INTEGER, creation_time, run_id, current_stage, workspace, storage_location, source
            );
            INSERT INTO model_versions VALUES
                ('sightline.washer', 9, 1000, 'a', 'None', 'default', 'file://{tmp_path}/bundle', NULL),
                ('sightline.washer', 10, 2000, 'b', 'None', 'default', NULL, 's3://bucket/bundle'),
                ('sightline.washer', 11, 3000, 'b', 'Deleted_Internal', 'default', NULL, 's3://bucket/bundle'),
                ('other', 1, 1000, 'a', 'None', 'default', NULL, 's3://bucket/bundle');
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
            CREATE TABLE runs (run_uuid, artifact_uri);
            INSERT INTO runs VALUES ('a', 'file://{tmp_path}/run%20a'), ('b', 's3://bucket/run');
            CREATE TABLE tags (key, value, run_uuid);
            INSERT INTO tags VALUES ('by', 'ann', 'a'), ('by', 'bob', 'b');
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


def test_an_alias_leads_to_one_version_of_each_product(database, caplog) -> None:
    found = RegistryReader().named("champion", settings(database))
    assert found == {"washer": RegisteredDetector("sightline.washer", "washer", "9", "x")}
    assert RegistryReader().named("challenger", settings(database)) == {}
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM model_version_tags WHERE version = 9")
    connection.close()
    assert RegistryReader().named("champion", settings(database)) == {}
    assert "champion passed over" in caplog.text


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


@pytest.fixture
def beside(monkeypatch) -> list:
    """What is asked of MLflow's client, which is not there."""
    asked: list = []
    monkeypatch.setattr(registry_reader, "_beside", lambda do, *arguments: asked.append((do, *arguments)))
    return asked


@pytest.fixture
def detector(tmp_path) -> RegisteredDetector:
    """Version 9, whose bundle is where the database says."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    write_brightness_bundle(bundle)
    return RegisteredDetector("sightline.washer", "washer", "9", bundle_digest(bundle))


def test_a_bundle_on_this_machine_is_fetched_without_mlflow(database, detector, beside, tmp_path) -> None:
    folder = RegistryReader().fetch(detector, tmp_path / "kept" / "9", settings(database))
    assert bundle_digest(folder) == detector.digest
    (tmp_path / "bundle" / CARD_FILE).unlink()
    assert RegistryReader().fetch(detector, folder, settings(database)) == folder
    assert beside == []


def test_what_lies_beside_a_bundle_stays_behind(database, detector, tmp_path) -> None:
    (tmp_path / "bundle" / "weights.bin").write_bytes(b"in no digest")
    (tmp_path / "bundle" / "more").mkdir()
    folder = RegistryReader().fetch(detector, tmp_path / "kept" / "9", settings(database))
    assert {path.name for path in folder.iterdir()} <= set(BUNDLE_FILES)
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"9"}


def test_a_bundle_that_cannot_be_read_is_a_fault_of_the_registry(database, detector, monkeypatch, tmp_path) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(registry.shutil, "copyfile", refuse)
    with pytest.raises(RegistryError, match=r"bundle cannot be copied: .*Permission denied"):
        RegistryReader().fetch(detector, tmp_path / "kept" / "9", settings(database))


def test_a_bundle_that_was_changed_is_refused_and_not_kept(database, detector, tmp_path) -> None:
    (tmp_path / "bundle" / CARD_FILE).write_text("{}")
    with pytest.raises(DetectorError, match=r"sightline.washer version 9 hashes to .*: its files were changed"):
        RegistryReader().fetch(detector, tmp_path / "kept" / "9", settings(database))
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_bundle_that_is_elsewhere_is_left_to_mlflow(database, beside, tmp_path) -> None:
    far = RegisteredDetector("sightline.washer", "washer", "10", "y")
    gone = RegisteredDetector("sightline.washer", "washer", "9", "x")
    for one in (far, gone):
        RegistryReader().fetch(one, tmp_path / "kept", settings(database))
        assert beside.pop() == (registry.fetch, one, tmp_path / "kept", settings(database))


def test_tags_and_files_of_a_run_are_read_without_mlflow(database, beside, tmp_path) -> None:
    (tmp_path / "run a" / "plots").mkdir(parents=True)
    (tmp_path / "run a" / "plots" / "roc.png").write_bytes(b"four")
    (tmp_path / "secret").write_bytes(b"not the run's")
    runs, of = RunReader(), settings(database)
    assert runs.tags("a", of) == {"by": "ann"}
    assert runs.files("a", of) == [RunFile("plots/roc.png", 4)]
    assert runs.read("a", "plots/roc.png", of) == b"four"
    assert beside == []
    runs.read("a", "../secret", of)
    assert beside == [(run_files.read, "a", "../secret", of)]


def test_a_run_that_is_elsewhere_or_unknown_is_left_to_mlflow(database, beside) -> None:
    runs, of = RunReader(), settings(database)
    runs.files("b", of)
    runs.tags("no such run", of)
    assert beside == [(run_files.files, "b", of), (run_files.tags, "no such run", of)]


def test_a_client_that_is_killed_is_a_fault_of_the_registry(monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    with pytest.raises(RegistryError, match="was killed"):
        registry_reader._beside(os._exit, 9)
