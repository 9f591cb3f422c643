"""The Java that Spark and the embedded broker run on: found, and checked before it is needed."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from sightline.errors import PrerequisiteError

VECTOR_MODULE = "jdk.incubator.vector"
"""Spark adds this module at its start; trimmed runtimes lack it."""


SHARED_CORES = ("-XX:TieredStopAtLevel=1", "-XX:ReservedCodeCacheSize=160m", "-XX:+UseParallelGC")
"""Options for JVMs that share their cores with a detector. The optimising compiler took more than all their own work
for the first minutes, and what it made was no faster, since they mostly move bytes; the concurrent collector marked a
small heap full of pictures again and again (docs/benchmarks.md). Without that compiler Java keeps 48 MB of compiled
code, which Spark fills within minutes: three quarters of it were thrown away and compiled again, over and over."""


def find_java() -> Path:
    """The `java` program that Spark will run too: of `$JAVA_HOME` if set, else on `$PATH`.

    Raises PrerequisiteError, with the command that installs one, when there is none, when its version is not one that
    Spark runs on, or when it is a trimmed runtime.
    """
    program = java_program()
    modules = _modules(program)
    release = _release(modules)
    if release != 17 and release < 21:
        raise PrerequisiteError(f"{program} is Java {release}; Spark needs Java 17, 21 or later. {_remedy()}")
    if VECTOR_MODULE not in modules:
        raise PrerequisiteError(
            f"{program} is a trimmed Java runtime: it lacks the module {VECTOR_MODULE}, which Spark needs. {_remedy()}"
        )
    return program


def java_program() -> Path:
    """The same program, unchecked: no process is started. Raises PrerequisiteError when there is none."""
    if home := os.environ.get("JAVA_HOME"):
        program = Path(home) / "bin" / ("java.exe" if os.name == "nt" else "java")
        if not program.is_file():
            raise PrerequisiteError(
                f"JAVA_HOME is {home!r}, which has no bin/java; correct or unset it, or install Java. {_remedy()}"
            )
        return program
    if found := shutil.which("java"):
        return Path(found)
    raise PrerequisiteError(f"Java is not installed, or not on the PATH; Kafka and Spark need it. {_remedy()}")


def _modules(program: Path) -> dict[str, str]:
    """Names and versions of the modules in the runtime; a runtime before Java 9 does not know the question."""
    try:
        answer = subprocess.run([program, "--list-modules"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PrerequisiteError(f"{program} does not run ({error}). {_remedy()}") from error
    if answer.returncode:
        said = (answer.stderr or answer.stdout).strip().splitlines()
        raise PrerequisiteError(
            f"{program} is too old or broken; Spark needs Java 17, 21 or later "
            f"(it said: {said[0] if said else 'nothing'}). {_remedy()}"
        )
    return dict(line.strip().partition("@")[::2] for line in answer.stdout.splitlines() if "@" in line)


def _release(modules: dict[str, str]) -> int:
    number = re.match(r"\d+", modules.get("java.base", ""))
    return int(number.group()) if number else 0


def _remedy() -> str:
    system = platform.system()
    if system == "Darwin":
        command = 'brew install openjdk@21 && export JAVA_HOME="$(brew --prefix openjdk@21)"'
    elif system == "Windows":
        command = "winget install EclipseAdoptium.Temurin.21.JDK"
    elif shutil.which("dnf"):
        command = "sudo dnf install java-21-openjdk-headless"
    elif shutil.which("pacman"):
        command = "sudo pacman -S jre21-openjdk-headless"
    elif shutil.which("zypper"):
        command = "sudo zypper install java-21-openjdk-headless"
    else:
        command = "sudo apt-get install openjdk-17-jre-headless"
    return f"Install one with: {command}"


if __name__ == "__main__":
    # for the Makefile, before anything is installed: no package but this and sightline.errors is needed
    try:
        find_java()
    except PrerequisiteError as error:
        sys.exit(f"error: {error}")
