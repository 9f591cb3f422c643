"""A machine without a fitting Java gets a message that says what to install."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from infra.java import find_java
from sightline.errors import PrerequisiteError


def _runtime(home: Path, script: str) -> Path:
    """A Java home whose `java` is a shell script."""
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def _listing(*modules: str) -> str:
    return "\n".join(f"echo {module}" for module in modules)


@pytest.mark.parametrize("release", ["17.0.15", "21", "25.0.1"])
def test_a_full_runtime_is_found(release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = _runtime(tmp_path, _listing(f"java.base@{release}", f"jdk.incubator.vector@{release}"))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert find_java() == program


def test_java_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrerequisiteError, match=r"Java is not installed.*Install one with: \w+"):
        find_java()


def test_java_home_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    with pytest.raises(PrerequisiteError, match=r"JAVA_HOME is '.*gone'"):
        find_java()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (_listing("java.base@11.0.2", "jdk.incubator.vector@11.0.2"), "is Java 11; Spark needs Java 17, 21 or later"),
        (_listing("java.base@19", "jdk.incubator.vector@19"), "is Java 19"),
        (_listing("java.base@17.0.15"), "trimmed Java runtime: it lacks the module jdk.incubator.vector"),
        ("echo Unrecognized option: --list-modules >&2; exit 1", "it said: Unrecognized option"),
    ],
)
def test_a_java_that_does_not_fit_is_named(
    script: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _runtime(tmp_path, script)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(PrerequisiteError, match=says):
        find_java()
