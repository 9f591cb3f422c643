"""The oracle: from what cameras sent and what came out, whether anything was lost, doubled or made up.

It knows nothing of the product's own bookkeeping (`console.verify`) and shares no code with it: frames are pairs of
camera and sequence, what each one shows is known beforehand, and so whether it is good, a defect or a dead letter; and
incidents are told anew from the verdicts, by the rule as `[alerts]` states it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Key = tuple[str, int]
"""Camera and sequence."""

EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Rule:
    """When defects are an incident; the part of `[alerts]` that decides which incidents there are."""

    window: int
    defects: int
    close_after: int
    cool_down: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """A frame as it was judged; `at` is its capture time in seconds."""

    camera: str
    sequence: int
    at: float
    defect: bool


@dataclass(slots=True)
class World:
    """All that is known after an experiment. Counters tell how often a record or row is there.

    `alarmed` is how many frames an alarm of the line has told to be lost, without naming them.
    """

    captured: set[Key] = field(default_factory=set)
    reused: set[Key] = field(default_factory=set)
    """Numbers that two frames were given."""
    defects: set[Key] = field(default_factory=set)
    cut: set[Key] = field(default_factory=set)
    """Frames that show a defect, and frames whose picture is cut off."""
    acknowledged: set[Key] = field(default_factory=set)
    dropped: set[Key] = field(default_factory=set)
    doubted: set[Key] = field(default_factory=set)
    inspected: Counter[Key] = field(default_factory=Counter)
    dead: Counter[Key] = field(default_factory=Counter)
    alerts: Counter[Key] = field(default_factory=Counter)
    """Rows of `alerts` by camera and the sequence that the incident began with."""
    told: Counter[Key] = field(default_factory=Counter)
    """Records in the topic of alerts, by alert and revision."""
    opened: Counter[Key] = field(default_factory=Counter)
    """Records in that topic that open an incident, by camera and the sequence that it began with."""
    verdicts: list[Verdict] = field(default_factory=list)
    alarmed: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of fault: all frames that have it, ordered."""

    kind: str
    keys: tuple[Key, ...]

    def __str__(self) -> str:
        shown = ", ".join(f"{camera} {sequence}" for camera, sequence in self.keys[:EXAMPLES])
        return f"{len(self.keys)} {self.kind}: {shown}{', …' if len(self.keys) > EXAMPLES else ''}"


def judge(world: World, rule: Rule | None = None) -> list[Finding]:
    """What is wrong with `world`; empty when nothing is. Without `rule` neither verdicts nor alerts are looked at."""
    found = {kind: tuple(sorted(keys)) for kind, keys in _frames(world)}
    if rule:
        found |= {kind: tuple(sorted(keys)) for kind, keys in (*_verdicts(world), *_incidents(world, rule))}
    return [Finding(kind, keys) for kind, keys in found.items() if keys]


def missing(world: World) -> set[Key]:
    """Frames that were captured and have no fate at all."""
    return world.captured - world.inspected.keys() - world.dead.keys() - world.dropped - world.doubted


def _frames(world: World) -> Iterator[tuple[str, Iterable[Key]]]:
    there = world.inspected.keys() | world.dead.keys()
    gone = missing(world)
    # an alarm with a number excuses as many frames, and not one more
    yield "lost", gone if len(gone) > world.alarmed else ()
    unheard = world.acknowledged - there
    yield "acknowledged and not there", unheard if len(unheard) > world.alarmed else ()
    yield "alarmed and not lost", [("", world.alarmed - len(gone))] if world.alarmed > len(gone) else ()
    yield "duplicated", (key for key, rows in world.inspected.items() if rows > 1)
    yield "dead-lettered twice", (key for key, rows in world.dead.items() if rows > 1)
    yield "never captured", there - world.captured
    yield "two frames of one number", world.reused
    yield "inspected and dead-lettered", world.inspected.keys() & world.dead.keys()
    yield "counted as dropped, and there", world.dropped & there


def _verdicts(world: World) -> Iterator[tuple[str, Iterable[Key]]]:
    yield "whole, and dead-lettered", (world.dead.keys() & world.captured) - world.cut
    yield "cut off, and judged", world.inspected.keys() & world.cut
    judged = ((one.camera, one.sequence, one.defect) for one in world.verdicts)
    wrong = {
        (camera, sequence) for camera, sequence, defect in judged if defect != ((camera, sequence) in world.defects)
    }
    yield "judged wrongly", (wrong & world.captured) - world.cut


def _incidents(world: World, rule: Rule) -> Iterator[tuple[str, Iterable[Key]]]:
    expected = set(incidents(world.verdicts, rule))
    yield "without an alert", expected - world.alerts.keys()
    yield "alerted twice", (key for key, rows in world.alerts.items() if rows > 1)
    yield "alerted without an incident", world.alerts.keys() - expected
    yield "opened twice", (key for key, records in world.opened.items() if records > 1)
    yield "revisions told twice", (key for key, records in world.told.items() if records > 1)


def incidents(verdicts: Iterable[Verdict], rule: Rule) -> Iterator[Key]:
    """Camera and first defect of each incident, the verdicts of each camera being taken in the order of sequence."""
    cameras: defaultdict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        cameras[verdict.camera].append(verdict)
    for camera, of_camera in cameras.items():
        of_camera.sort(key=lambda verdict: verdict.sequence)
        for first in _of_one_camera(of_camera, rule):
            yield camera, first


def _of_one_camera(verdicts: list[Verdict], rule: Rule) -> Iterator[int]:
    recent: list[tuple[int, Verdict]] = []
    """Defects of the last frames that belong to no incident, with their place."""
    last: Verdict | None = None
    quiet: int | None = None
    """Frames without a defect in the open incident; None while none is open."""
    closed = float("-inf")
    for place, verdict in enumerate(verdicts):
        if last and abs(verdict.at - last.at) > rule.cool_down:
            recent, quiet, closed = [], None, float("-inf")
        last = verdict
        if quiet is not None:
            quiet = 0 if verdict.defect else quiet + 1
            if quiet >= rule.close_after:
                quiet, closed = None, verdict.at
            continue
        recent = [one for one in recent if place - one[0] < rule.window]
        if verdict.defect:
            recent.append((place, verdict))
        if len(recent) >= rule.defects:
            if verdict.at - closed > rule.cool_down:
                yield recent[0][1].sequence
            recent, quiet = [], 0
