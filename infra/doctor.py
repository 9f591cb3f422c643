"""What `sightline doctor` looks at on this machine: Java, packages, jars, ports, disks, limits, memory, the clock."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from infra.doctor_kafka import kafka
from sightline.diagnosis import Finding, fault, fine, warning
from sightline.metrics import MetricsSettings, noted_processes
from sightline.settings import TableSettings, run_folder

GIB = 1024**3
FULL_GIB, LOW_GIB = 1, 5
FILES_LOW, FILES_FEW = 1024, 4096
MEMORY_GIB = 3
"""What the four processes and an embedded broker take together (docs/benchmarks.md)."""
EXTRAS = ("producers", "runtime", "registry", "train", "streaming", "console", "api", "infra", "traces")
_UNSYNCHRONISED = 0x40


def java() -> Iterator[Finding]:
    from infra.java import find_java

    yield fine("Java", str(find_java()))


def packages() -> Iterator[Finding]:
    """Which parts are installed whole; versions that Sightline was not made for are named."""
    yield fine("Python", f"{'.'.join(map(str, sys.version_info[:3]))}, {sys.executable}")
    absent, wrong = _requirements()
    whole = [extra for extra in EXTRAS if not absent.get(extra)]
    parts = [f"{extra} (without {', '.join(names)})" for extra, names in absent.items() if names]
    yield fine("packages", f"whole: {', '.join(whole)}" + (f"; not: {'; '.join(parts)}" if parts else ""))
    if wrong:
        yield warning("package versions", "; ".join(wrong), "pip install --upgrade 'sightline[all]', or `make setup`")


def jars() -> Iterator[Finding]:
    from infra.jars import CONFIGURATIONS, jar_folder, missing

    if lacking := missing(CONFIGURATIONS):
        yield fault("jars", f"those for {' and '.join(lacking)} are not in {jar_folder()}", "`sightline jars`")
    else:
        yield fine("jars", str(jar_folder()))


def ports() -> Iterator[Finding]:
    """Ports that the processes will want; one that a process of this run folder holds is as it should be."""
    from infra.ports import holder, is_free

    settings = MetricsSettings.load()
    ours = {one.address: one.process for one in noted_processes() if one.alive}
    taken, used = [], []
    for process in ("producers", "score", "incidents", "history", "api") if settings.enabled else ():
        port = settings.port(process)
        if port == 0 or is_free(settings.host, port):
            continue
        if f"{settings.host}:{port}" in ours:
            used.append(process)
        else:
            taken.append(f"{port} ({process}) by {holder(port) or 'another process'}")
    if taken:
        yield warning(
            "ports of metrics", f"taken: {', '.join(taken)}", "stop it, or set [metrics] ports = {NAME = PORT}"
        )
    else:
        yield fine("ports of metrics", f"used by {', '.join(used)}" if used else "free")


def disks() -> Iterator[Finding]:
    """Room and rights where the processes write."""
    root = TableSettings.load().root
    folders = {"run folder": run_folder(), "tables": None if "://" in root else Path(root)}
    for name, folder in folders.items():
        if folder is None:
            yield fine(f"disk: {name}", f"{root}: an object store, not looked at")
            continue
        there = _nearest(folder.absolute())
        free = shutil.disk_usage(there).free / GIB
        found = f"{folder}: {free:.1f} GiB free"
        more = "delete what is not needed, shorten [topics] retention, or set SIGHTLINE_RUN to a larger disk"
        if not os.access(there, os.W_OK):
            yield fault(
                f"disk: {name}",
                f"{there} cannot be written",
                f"give it to account {os.geteuid()}",
            )
        elif free < FULL_GIB:
            yield fault(f"disk: {name}", found, more)
        elif free < LOW_GIB:
            yield warning(f"disk: {name}", found, more)
        else:
            yield fine(f"disk: {name}", found)


def limits() -> Iterator[Finding]:
    """Open files: each segment, connection and jar of a JVM is one."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    remedy = f"ulimit -n {FILES_FEW * 4} before the start, LimitNOFILE= in a systemd unit, or limits.conf"
    if soft < FILES_LOW:
        yield fault("open files", f"at most {soft} (hard limit {hard})", remedy)
    elif soft < FILES_FEW:
        yield warning("open files", f"at most {soft} (hard limit {hard})", remedy)
    else:
        yield fine("open files", f"at most {soft}")


def memory() -> Iterator[Finding]:
    import psutil

    now, cores = psutil.virtual_memory(), os.cpu_count()
    found = f"{now.available / GIB:.1f} of {now.total / GIB:.1f} GiB free, {cores} cores"
    running = any(one.alive for one in noted_processes())
    if now.available < MEMORY_GIB * GIB and not running:
        yield warning("memory", found, f"Sightline on one machine takes {MEMORY_GIB} GiB: end others, or add some")
    else:
        yield fine("memory", found)


def clock() -> Iterator[Finding]:
    """Whether the system says that its clock is kept right: latencies compare clocks of several machines."""
    state = _kernel_clock()
    if state is None:
        yield fine("clock", "this system does not tell whether it is synchronised")
    elif state[0]:
        yield fine("clock", f"synchronised, at most {state[1]:.3f} s off")
    else:
        yield warning(
            "clock",
            "not synchronised, as far as the kernel knows",
            "run chrony or systemd-timesyncd on every host; in a container the host's state counts and may not be seen",
        )


CHECKS = (java, packages, jars, ports, kafka, disks, limits, memory, clock)


def _nearest(folder: Path) -> Path:
    """The folder, or the first one above it that there is."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _requirements() -> tuple[dict[str, list[str]], list[str]]:
    """What each extra lacks, and installed versions that do not fit."""
    from packaging.requirements import Requirement

    absent: dict[str, list[str]] = {extra: [] for extra in EXTRAS}
    wrong = set()
    for text in metadata.requires("sightline") or ():
        one = Requirement(text)
        if one.name == "sightline":
            continue
        extra = re.search(r'extra == "([\w-]+)"', str(one.marker or ""))
        if extra and extra[1] not in absent:
            continue
        try:
            version = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            if extra:
                absent[extra[1]].append(one.name)
            continue
        if not one.specifier.contains(version, prereleases=True):
            wrong.add(f"{one.name} {version} is installed, {one.specifier} is needed")
    return absent, sorted(wrong)


class _Timex(ctypes.Structure):
    """`struct timex` of Linux, as far as it is looked at, with room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_byte * 256),
    )  # fmt: skip


def _kernel_clock() -> tuple[bool, float] | None:
    """Whether NTP keeps the clock, and the largest error in seconds; None where the kernel cannot be asked."""
    try:
        ask = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    answer = _Timex()
    if ask(ctypes.byref(answer)) < 0:
        return None
    return not answer.status & _UNSYNCHRONISED, answer.maxerror / 1e6
