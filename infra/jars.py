"""The jars that Spark and the broker need beside pyspark's own: resolved once from `ivy.xml`, then found on disk.

They lie with the Python environment (`sys.prefix`), so that an image or a copied environment carries them.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from infra.java import find_java
from sightline.errors import PrerequisiteError, SettingsError

Configuration = Literal["spark", "broker"]
CONFIGURATIONS: tuple[Configuration, ...] = get_args(Configuration)

IVY_FILE = Path(__file__).with_name("ivy.xml")
_STAMP = "resolved-from"
_log = logging.getLogger(__name__)


def jar_folder() -> Path:
    """The folder of all jars, one folder per configuration below it."""
    return Path(sys.prefix) / "share" / "sightline" / "jars"


def locate(configuration: Configuration) -> list[Path]:
    """The jars of one configuration, sorted.

    Raises PrerequisiteError naming the command that fetches them when they are absent or older than `ivy.xml`.
    """
    folder = jar_folder() / configuration
    if not _is_current(folder):
        state = "are of another version than infra/ivy.xml asks for" if folder.is_dir() else "are not here"
        raise PrerequisiteError(
            f"the jars for {configuration!r} {state} ({folder}); fetch them with `sightline jars` (or `make setup`)"
        )
    return sorted(folder.glob("*.jar"))


def resolve(
    wanted: Sequence[Configuration] = CONFIGURATIONS, *, progress: Callable[[str], None] = _log.info
) -> list[Path]:
    """Fetch what is not there yet and return all jars; needs no network when nothing is missing.

    `progress` is told of each jar that is downloaded. Raises PrerequisiteError when Java is missing or when a jar
    cannot be had, with Ivy's own words.
    """
    if absent := missing(wanted):
        _fetch(absent, progress)
    return [jar for name in wanted for jar in locate(name)]


def configurations(names: Sequence[str]) -> tuple[Configuration, ...]:
    """The configurations that a person named, all of them for none; raises SettingsError for another name."""
    if unknown := set(names) - set(CONFIGURATIONS):
        raise SettingsError(f"{', '.join(sorted(unknown))}: no such jars; choose from {' and '.join(CONFIGURATIONS)}")
    return tuple(name for name in CONFIGURATIONS if not names or name in names)


def missing(wanted: Sequence[Configuration]) -> list[Configuration]:
    """Those of `wanted` whose jars are absent or older than `ivy.xml`."""
    return [name for name in wanted if not _is_current(jar_folder() / name)]


def _fetch(absent: Sequence[Configuration], progress: Callable[[str], None]) -> None:
    partial = jar_folder() / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    _run_ivy(absent, partial, progress)
    for name in absent:
        target = jar_folder() / name
        shutil.rmtree(target, ignore_errors=True)
        (partial / name / _STAMP).write_text(_digest())
        (partial / name).rename(target)
    partial.rmdir()


def _run_ivy(absent: Sequence[Configuration], folder: Path, progress: Callable[[str], None]) -> None:
    command = [
        *(find_java(), "-jar", _ivy_jar()),
        *("-ivy", IVY_FILE, "-confs", *absent),
        # OSGi bundles are jars too; without -types Ivy adds sources and documentation
        *("-types", "jar", "bundle"),
        *("-retrieve", f"{folder}/[conf]/[artifact]-[revision](-[classifier]).[ext]"),
    ]
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as ivy:
        assert ivy.stdout is not None
        for line in ivy.stdout:
            said.append(line.rstrip())
            if jar := re.match(r"downloading \S*/(\S+\.jar)", line):
                progress(jar.group(1))
    if ivy.returncode:
        faults = [line.strip() for line in said if "UNRESOLVED" in line or "not found" in line or "FAILED" in line]
        raise PrerequisiteError(
            "some jars could not be fetched; check the network, or put the settings of your own repository into "
            "~/.ivy2/ivysettings.xml. Ivy said:\n" + "\n".join(faults[:10] or said[-10:])
        )


def _ivy_jar() -> Path:
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise PrerequisiteError(
            "pyspark is not installed; install it with `make setup` or pip install 'sightline[all]'"
        )
    jars = sorted((Path(spec.origin).parent / "jars").glob("ivy-*.jar"))
    if not jars:
        raise PrerequisiteError(f"pyspark at {spec.origin} has no jars/ivy-*.jar; install it again")
    return jars[-1]


def _is_current(folder: Path) -> bool:
    stamp = folder / _STAMP
    return stamp.is_file() and stamp.read_text() == _digest()


def _digest() -> str:
    return hashlib.sha256(IVY_FILE.read_bytes()).hexdigest()
