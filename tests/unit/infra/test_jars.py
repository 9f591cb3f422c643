"""Jars are fetched once, told of when they are not there, and never named by host."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from infra import jars
from sightline.errors import PrerequisiteError


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Python environment; nothing may be run in it."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "no-java"))
    return tmp_path


def _fetched(name: str) -> Path:
    folder = jars.jar_folder() / name
    folder.mkdir(parents=True)
    (folder / "b.jar").touch()
    (folder / "a.jar").touch()
    (folder / "resolved-from").write_text(jars._digest())
    return folder


def test_missing_jars_name_the_command_that_fetches_them(environment: Path) -> None:
    with pytest.raises(PrerequisiteError, match=r"'spark' are not here .*`sightline jars`"):
        jars.locate("spark")


def test_jars_of_another_ivy_file_are_not_used(environment: Path) -> None:
    (_fetched("spark") / "resolved-from").write_text("something older")
    with pytest.raises(PrerequisiteError, match="another version"):
        jars.locate("spark")


def test_a_second_run_fetches_nothing(environment: Path) -> None:
    folders = [_fetched(name) for name in jars.CONFIGURATIONS]
    told: list[str] = []
    found = jars.resolve(progress=told.append)  # would fail for want of Java if it ran anything
    assert found == [folder / name for folder in folders for name in ("a.jar", "b.jar")]
    assert not told


def test_without_java_the_jars_cannot_be_fetched(environment: Path) -> None:
    with pytest.raises(PrerequisiteError, match="JAVA_HOME"):
        jars.resolve()


def test_the_ivy_file_names_the_two_configurations_and_no_host() -> None:
    text = jars.IVY_FILE.read_text()
    assert "://" not in text
    found = {conf.get("name") for conf in ElementTree.fromstring(text).iter("conf")}
    assert found == set(jars.CONFIGURATIONS)


def test_spark_gets_no_second_copy_of_what_it_ships() -> None:
    pyspark = pytest.importorskip("pyspark")
    shipped = {_name(jar) for jar in (Path(pyspark.__file__).parent / "jars").glob("*.jar")}
    assert not shipped & {_name(jar) for jar in jars.locate("spark")}


def _name(jar: Path) -> str:
    return jar.stem.rpartition("-")[0]
