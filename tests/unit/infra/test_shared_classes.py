"""Kept classes are given to the JVMs they were made for, and a file that does not fit keeps none from starting."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from infra import jars, shared_classes
from infra.java import find_java
from infra.shared_classes import archive, keep, lacking, options
from infra.spark import SparkSettings, session_conf
from sightline.errors import PrerequisiteError


@pytest.fixture
def java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program to make files for, and an empty folder for them."""
    monkeypatch.setattr(shared_classes, "jar_folder", lambda: tmp_path)
    program = tmp_path / "java"
    program.touch()
    return program


def test_a_jvm_gets_the_classes_that_its_java_has_loaded(java: Path) -> None:
    assert options("spark", java) == ()
    assert lacking(["spark", "broker"], java) == ["spark", "broker"]
    archive("spark", java).touch()
    assert options("spark", java)[0] == f"-XX:SharedArchiveFile={archive('spark', java)}"
    assert (options("broker", java), lacking(["spark", "broker"], java)) == ((), ["broker"])


def test_another_java_or_other_jars_want_their_classes_anew(
    java: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive("spark", java).touch()
    os.utime(java, ns=(1, 1))
    assert lacking(["spark"], java) == ["spark"]
    archive("spark", java).touch()
    ivy = tmp_path / "ivy.xml"
    ivy.write_text(jars.IVY_FILE.read_text() + "\n")
    monkeypatch.setattr(shared_classes, "IVY_FILE", ivy)
    assert lacking(["spark"], java) == ["spark"]


def test_a_damaged_file_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_classes, "jar_folder", lambda: tmp_path)
    java = find_java()
    archive("broker", java).write_bytes(b"no classes" * 1000)
    done = subprocess.run([java, *options("broker", java), "-version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_kept_classes_fit_this_java() -> None:
    java = find_java()
    if lacking(["broker"], java):
        pytest.skip("no classes were kept for this Java; `sightline jars` keeps them")
    path = os.pathsep.join(map(str, jars.locate("broker")))
    # `on` lets Java refuse to start where it would pass the file over
    done = subprocess.run(
        [java, "-Xshare:on", *options("broker", java), "-cp", path, "-version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rehearsal_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(PrerequisiteError, match=r"classes of broker could not be kept: .*JAVA_HOME is '/nowhere'"):
        keep(["broker"])


def test_only_a_jvm_that_runs_everything_has_the_jars_on_its_class_path() -> None:
    one = session_conf(SparkSettings(master="local[2]"))
    assert "delta" in one["spark.driver.extraClassPath"]
    assert "spark.jars" not in one
    cluster = session_conf(SparkSettings(master="spark://127.0.0.1:7077"))
    assert "delta" in cluster["spark.jars"]
    assert "SharedArchiveFile" not in cluster["spark.driver.extraJavaOptions"]
