"""Classes that the JVMs of Spark and of the broker keep from one start to the next (class data sharing, JEP 350).

A start reads, checks and links ten thousand classes. `infra.rehearsal` lets Java write beside the jars what it loaded
once, and later starts map that file, which takes broker and Spark little more than half the time
(`benchmarks.starts`). Java passes over a file that does not fit, as after its own update, and starts as slowly as
without.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.jars import IVY_FILE, Configuration, jar_folder
from sightline.errors import PrerequisiteError

QUIET = "-Xlog:cds*=off"


def archive(name: Configuration, java: Path) -> Path:
    """Where the classes lie that this `java` has loaded for one configuration; the file may be absent."""
    program = java.resolve()
    made_for = f"{program} {program.stat().st_mtime_ns} {hashlib.sha256(IVY_FILE.read_bytes()).hexdigest()}"
    return jar_folder() / f"{name}-{hashlib.sha256(made_for.encode()).hexdigest()[:12]}.jsa"


def options(name: Configuration, java: Path) -> tuple[str, ...]:
    """What a JVM of this configuration is started with; nothing where its classes were not kept."""
    file = archive(name, java)
    return (f"-XX:SharedArchiveFile={file}", QUIET) if file.is_file() else ()


def lacking(wanted: Sequence[Configuration], java: Path) -> list[Configuration]:
    """Those of `wanted` whose classes were not kept for this `java` and these jars."""
    return [name for name in wanted if not archive(name, java).is_file()]


def keep(wanted: Sequence[Configuration]) -> None:
    """Run what is `wanted` once, in a process of its own; raises PrerequisiteError when that failed."""
    command = [sys.executable, "-m", "infra.rehearsal", *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise PrerequisiteError(f"the classes of {' and '.join(wanted)} could not be kept: {said[-1]}")
