"""The jars that Spark and the broker need beside pyspark's own: resolved once from `ivy.xml`, then found on disk.

What was fetched is compared with `jars.sha256` before it is used. After a change in `ivy.xml`, `python -m infra.jars`
fetches and writes that list anew; look at what it changed, as for any lock file.

They lie with the Python environment (`sys.prefix`), so that an image or a copied environment carries them.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from infra.java import find_java
from sightline.errors import PrerequisiteError, SettingsError, SightlineError

Configuration = Literal["spark", "broker"]
CONFIGURATIONS: tuple[Configuration, ...] = get_args(Configuration)

IVY_FILE = Path(__file__).with_name("ivy.xml")
SUMS_FILE = Path(__file__).with_name("jars.sha256")
"""SHA-256 and `configuration/file` of every jar, as `sha256sum` writes it."""
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

    `progress` is told of each jar that is downloaded. Raises PrerequisiteError when Java is missing, when a jar cannot
    be had, with Ivy's own words, and when one is not the jar of `jars.sha256`.
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
    _check(absent, partial)
    for name in absent:
        target = jar_folder() / name
        shutil.rmtree(target, ignore_errors=True)
        (partial / name / _STAMP).write_text(_digest())
        (partial / name).rename(target)
    partial.rmdir()


def _check(fetched: Sequence[Configuration], folder: Path) -> None:
    """Nothing is used but what the list has, and all of it."""
    expected = {jar: digest for jar, digest in _sums().items() if jar.split("/")[0] in fetched}
    found = _measured(fetched, folder)
    wrong = [jar for jar in sorted(expected.keys() | found.keys()) if expected.get(jar) != found.get(jar)]
    if wrong:
        lines = [f"  {jar}: expected {expected.get(jar, 'none')}, found {found.get(jar, 'none')}" for jar in wrong]
        raise PrerequisiteError(
            f"these jars are not those of infra/{SUMS_FILE.name} and were not installed; delete them from "
            "~/.ivy2/cache and fetch again. A repository that gives others again is not to be trusted (after a change "
            "in infra/ivy.xml, write the list anew with `python -m infra.jars`). SHA-256:\n" + "\n".join(lines)
        )


def _sums() -> dict[str, str]:
    pairs = (line.split() for line in SUMS_FILE.read_text().splitlines())
    return {jar: digest for digest, jar in pairs}


def _measured(names: Sequence[Configuration], folder: Path) -> dict[str, str]:
    jars = (jar for name in names for jar in (folder / name).glob("*.jar"))
    return {f"{jar.parent.name}/{jar.name}": hashlib.sha256(jar.read_bytes()).hexdigest() for jar in jars}


def write_sums() -> int:
    """Fetch every jar of `ivy.xml` and write the list of what came; returns how many."""
    with tempfile.TemporaryDirectory() as folder:
        _run_ivy(CONFIGURATIONS, Path(folder), _log.info)
        found = _measured(CONFIGURATIONS, Path(folder))
    SUMS_FILE.write_text("".join(f"{digest}  {jar}\n" for jar, digest in sorted(found.items())))
    return len(found)


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


if __name__ == "__main__":
    try:
        print(f"{write_sums()} jars in {SUMS_FILE}")  # noqa: T201 - a command of its own
    except SightlineError as error:
        sys.exit(f"error: {error}")
