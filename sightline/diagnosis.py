"""What `sightline doctor` finds: each room checks its own part of a deployment, and offers it as an entry point.

The group is `sightline.checks`; an entry is a function without arguments that yields findings. A check that fails in a
way that nobody foresaw is a finding too, and never hides the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import entry_points

from sightline.errors import SightlineError


class State(StrEnum):
    """How a finding stands; the order is that of the exit codes 0, 1 and 2."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was found, and what to do about it."""

    subject: str
    state: State
    found: str
    remedy: str = ""


Check = Callable[[], Iterable[Finding]]


def fine(subject: str, found: str) -> Finding:
    return Finding(subject, State.OK, found)


def warning(subject: str, found: str, remedy: str) -> Finding:
    return Finding(subject, State.WARNING, found, remedy)


def fault(subject: str, found: str, remedy: str) -> Finding:
    return Finding(subject, State.FAULT, found, remedy)


def failed(subject: str, error: SightlineError) -> Finding:
    """What an error's message says; it has the remedy behind its last semicolon or full stop where it has one."""
    text = str(error)
    for mark in ("; ", ". "):
        found, parted, remedy = text.rpartition(mark)
        if parted:
            return fault(subject, found, remedy)
    return fault(subject, text, "")


def examine(checks: Iterable[tuple[str, Check]]) -> Iterator[Finding]:
    """The findings of all checks, in their order."""
    for name, check in checks:
        try:
            yield from check()
        except SightlineError as error:
            yield failed(name, error)
        except ImportError as error:
            yield fault(name, f"{error.name} is not installed", "pip install 'sightline[all]', or the part's own extra")
        except Exception as error:  # noqa: BLE001 - the doctor names what it cannot examine
            yield fault(name, f"{type(error).__name__}: {error}"[:300], "this check itself failed; please report it")


def all_checks() -> list[tuple[str, Check]]:
    """The checks of every installed room."""
    order = {"infra": 0, "producers": 1, "models": 2, "console": 3}
    entries = sorted(entry_points(group="sightline.checks"), key=lambda entry: (order.get(entry.name, 9), entry.name))
    return [(f"{entry.name}: {check.__name__}", check) for entry in entries for check in entry.load()]


def worst(findings: Iterable[Finding]) -> State:
    """The worst state among the findings."""
    states = {finding.state for finding in findings}
    return next((state for state in (State.FAULT, State.WARNING) if state in states), State.OK)


EXIT_CODES = {State.OK: 0, State.WARNING: 1, State.FAULT: 2}
