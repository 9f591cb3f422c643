"""Jars are fetched once, told of when they are not there, and never named by host."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from hashlib import sha256
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


def _ivy_that_brings(monkeypatch: pytest.MonkeyPatch, **jars_of: dict[str, bytes]) -> None:
    def run(absent: Sequence[str], folder: Path, progress: object) -> None:
        for name in absent:
            (folder / name).mkdir(parents=True)
            for jar, data in jars_of[name].items():
                (folder / name / jar).write_bytes(data)

    monkeypatch.setattr(jars, "_run_ivy", run)


@pytest.fixture
def listed(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of two jars for Spark and one for the broker, which hold their names."""
    lines = [f"{sha256(jar.encode()).hexdigest()}  {jar}\n" for jar in ("broker/a.jar", "spark/a.jar", "spark/b.jar")]
    monkeypatch.setattr(jars, "SUMS_FILE", environment / "jars.sha256")
    jars.SUMS_FILE.write_text("".join(lines))


def test_jars_of_the_list_are_installed(listed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    _ivy_that_brings(monkeypatch, spark={"a.jar": b"spark/a.jar", "b.jar": b"spark/b.jar"})
    assert [jar.name for jar in jars.resolve(["spark"])] == ["a.jar", "b.jar"]


@pytest.mark.parametrize(
    ("came", "told"),
    [
        ({"a.jar": b"spark/a.jar", "b.jar": b"forged"}, ("spark/b.jar", b"spark/b.jar", b"forged")),
        ({"a.jar": b"spark/a.jar"}, ("spark/b.jar", b"spark/b.jar", None)),
        (
            {"a.jar": b"spark/a.jar", "b.jar": b"spark/b.jar", "c.jar": b"more"},
            ("spark/c.jar", None, b"more"),
        ),
    ],
    ids=["changed", "missing", "more"],
)
def test_a_jar_that_is_not_the_one_of_the_list_is_named_and_nothing_is_installed(
    listed: None,
    monkeypatch: pytest.MonkeyPatch,
    came: dict[str, bytes],
    told: tuple[str, bytes | None, bytes | None],
) -> None:
    _ivy_that_brings(monkeypatch, spark=came)
    expected, found = ("none" if data is None else sha256(data).hexdigest() for data in told[1:])
    with pytest.raises(PrerequisiteError) as refused:
        jars.resolve(["spark"])
    assert f"{told[0]}: expected {expected}, found {found}" in str(refused.value)
    assert "spark/a.jar" not in str(refused.value)
    assert jars.missing(["spark"]) == ["spark"]


def test_the_list_has_the_jars_that_are_here() -> None:
    here = jars._measured(jars.CONFIGURATIONS, jars.jar_folder())
    assert here == jars._sums()


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
