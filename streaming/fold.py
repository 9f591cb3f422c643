"""Inspections of one camera to incidents: a pure fold, so the same inspections always give the same alerts.

Time here is event time (`captured_at`) and nothing else. No clock is read, hence a replay decides as the first run did,
and the incident of a camera that fell silent stays open until that camera's next frame tells how long it was silent.

- An incident **opens** when `defects` of the last `window` judged frames are defects. It starts at the first of these.
- While open it is **updated** sparingly: when its severity rises, when its peak grows by `peak_growth`, and otherwise
  at most once in `update_every` frames, if it has new defects.
- It **closes** after `close_after` frames without a defect, or when the time between two frames exceeds
  `cool_down_seconds` in either direction: a silence or a jump of the clock, after which nothing earlier counts.
- Alerts do not repeat: defects that would open an incident within `cool_down_seconds` of a close continue the closed
  one, as a further `updated` of the same alert.
- `review` means that the detector cannot tell. Such a frame neither opens nor closes: it takes no place in the window
  and does not count towards the close.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial, reduce
from typing import Annotated, ClassVar

from pydantic import Field, ValidationInfo, field_validator

from sightline.codec import digest_id
from sightline.contracts import Alert, AlertState, Inspection, Severity, Verdict
from sightline.replays import LastSeen, is_stale, last_seen
from sightline.settings import Section


class AlertSettings(Section):
    """When defects become an incident, and how much is said about it.

    Two defects in five frames is the default because a threshold calibrated for one false alarm in a hundred good
    frames would otherwise open an incident every ten seconds on a camera of ten frames a second; a chance pair within
    five frames is about twenty-five times rarer, while a fault of the process shows on the very next parts. Set
    `defects = 1` where every single part counts.
    """

    section: ClassVar[str] = "alerts"

    window: Annotated[int, Field(ge=1, le=1000)] = 5
    """Frames looked back on, those with the verdict `review` left out."""
    defects: Annotated[int, Field(ge=1, le=100)] = 2
    """Defects in the window that open an incident."""
    close_after: Annotated[int, Field(ge=1)] = 20
    """Frames in a row without a defect that close it."""
    cool_down_seconds: Annotated[float, Field(gt=0, le=86_400)] = 30.0
    """Longest silence within an incident, and the time after a close in which it is continued."""
    update_every: Annotated[int, Field(ge=1)] = 50
    """Frames between two ordinary updates."""
    peak_growth: Annotated[float, Field(gt=0)] = 0.5
    """Growth of the peak score, relative to the one last told, that is told at once."""
    critical_factor: Annotated[float, Field(ge=1)] = 2.0
    """A score of this many thresholds makes the incident critical."""
    critical_count: Annotated[int, Field(ge=1)] = 20
    """So do this many defects."""

    @field_validator("defects")
    @classmethod
    def _fits_the_window(cls, defects: int, info: ValidationInfo) -> int:
        window = info.data.get("window", defects)
        if defects > window:
            raise ValueError(f"more defects than the window of {window} frames holds; lower it or raise window")
        return defects


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A defect that has not opened an incident yet: the alert it would start, and its place among the judged frames."""

    frame: int
    alert: Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """An incident, open or lately closed.

    `alert` holds today's figures; its `revision` and `state` are those last told, as are `told_frame` and `told_peak`.
    `clean` counts the frames since the last defect; `closed_at` is set while it is closed.
    """

    alert: Alert
    told_frame: int
    told_peak: float
    clean: int = 0
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraState:
    """All that the fold remembers of one camera; `frames` counts its judged frames."""

    last: LastSeen | None = None
    frames: int = 0
    suspects: tuple[Suspect, ...] = ()
    incident: Incident | None = None


def fold(state: CameraState, inspection: Inspection, policy: AlertSettings) -> tuple[CameraState, tuple[Alert, ...]]:
    """The state after one more inspection of the same camera, and the alerts that it causes.

    At most two: a frame after a long silence may close one incident and open the next. A stale inspection changes
    nothing (see `sightline.replays`).
    """
    if state.last and is_stale(state.last, inspection):
        return state, ()
    ended: tuple[Alert, ...] = ()
    if state.last and abs(inspection.captured_at - state.last.captured_at) > _cool_down(policy):
        ended = _end_by_silence(state.incident, state.last)
        state = replace(state, suspects=(), incident=None)
    state = replace(state, last=last_seen(inspection, state.last))
    if inspection.verdict is Verdict.REVIEW:
        return state, ended
    state = replace(state, frames=state.frames + 1)
    if state.incident and state.incident.closed_at is None:
        incident, told = _continue(state.incident, inspection, state.frames, policy)
        return replace(state, incident=incident), ended + told
    state, told = _watch(state, inspection, policy)
    return state, ended + told


def fold_all(inspections: Iterable[Inspection], policy: AlertSettings) -> Iterator[Alert]:
    """The alerts of any number of cameras, the inspections of each in their order; what `streaming.incidents` sends."""
    states: dict[str, CameraState] = {}
    for inspection in inspections:
        state = states.get(inspection.camera, CameraState())
        states[inspection.camera], alerts = fold(state, inspection, policy)
        yield from alerts


def _cool_down(policy: AlertSettings) -> timedelta:
    return timedelta(seconds=policy.cool_down_seconds)


def _end_by_silence(incident: Incident | None, last: LastSeen) -> tuple[Alert, ...]:
    """The close of what was open when the camera fell silent; it ended with the last frame before that."""
    if incident is None or incident.closed_at is not None:
        return ()
    return (_told(incident.alert, AlertState.CLOSED, last.captured_at),)


def _watch(state: CameraState, inspection: Inspection, policy: AlertSettings) -> tuple[CameraState, tuple[Alert, ...]]:
    """One more frame while no incident is open."""
    incident = state.incident
    if incident and incident.closed_at and inspection.captured_at - incident.closed_at > _cool_down(policy):
        incident = None
    suspects = tuple(suspect for suspect in state.suspects if state.frames - suspect.frame < policy.window)
    if inspection.verdict is Verdict.DEFECT:
        suspects += (Suspect(frame=state.frames, alert=_draft(inspection, policy)),)
    if len(suspects) < policy.defects:
        return replace(state, suspects=suspects, incident=incident), ()
    drafts = [suspect.alert for suspect in suspects]
    if incident:
        drafts.insert(0, incident.alert)
    alert = reduce(partial(_joined, policy=policy), drafts)
    told = _told(alert, AlertState.UPDATED if incident else AlertState.OPENED, inspection.captured_at)
    return replace(state, suspects=(), incident=_as_told(told, state.frames)), (told,)


def _continue(
    incident: Incident, inspection: Inspection, frame: int, policy: AlertSettings
) -> tuple[Incident, tuple[Alert, ...]]:
    """One more frame while the incident is open."""
    if inspection.verdict is Verdict.DEFECT:
        alert = _joined(incident.alert, _draft(inspection, policy), policy=policy)
        if not _worth_telling(incident, alert, frame, policy):
            return replace(incident, alert=alert, clean=0), ()
        told = _told(alert, AlertState.UPDATED, inspection.captured_at)
        return _as_told(told, frame), (told,)
    if incident.clean + 1 < policy.close_after:
        return replace(incident, clean=incident.clean + 1), ()
    told = _told(incident.alert, AlertState.CLOSED, inspection.captured_at)
    return replace(_as_told(told, frame), closed_at=inspection.captured_at), (told,)


def _worth_telling(incident: Incident, alert: Alert, frame: int, policy: AlertSettings) -> bool:
    growth = alert.peak_score - incident.told_peak
    return (
        alert.severity is not incident.alert.severity
        or (growth > 0 and growth >= policy.peak_growth * abs(incident.told_peak))
        or frame - incident.told_frame >= policy.update_every
    )


def _draft(inspection: Inspection, policy: AlertSettings) -> Alert:
    """An alert of this one defect, not told to anyone yet: revision 0."""
    far_above = 0 < policy.critical_factor * inspection.threshold <= inspection.score
    return Alert(
        alert_id=digest_id(inspection.camera, inspection.sequence, inspection.captured_at),
        revision=0,
        state=AlertState.OPENED,
        severity=Severity.CRITICAL if far_above or policy.critical_count == 1 else Severity.WARNING,
        line=inspection.line,
        camera=inspection.camera,
        product=inspection.product,
        opened_at=inspection.captured_at,
        updated_at=inspection.captured_at,
        first_sequence=inspection.sequence,
        last_sequence=inspection.sequence,
        count=1,
        peak_score=inspection.score,
        peak_sequence=inspection.sequence,
        threshold=inspection.threshold,
        detector=inspection.detector,
        regions=inspection.regions,
        thumbnail=inspection.thumbnail,
    )


def _joined(alert: Alert, later: Alert, *, policy: AlertSettings) -> Alert:
    """The alert with a later defect added: identity of the first, picture and detector of the higher peak."""
    count = alert.count + later.count
    critical = Severity.CRITICAL in (alert.severity, later.severity) or count >= policy.critical_count
    peak = later if later.peak_score > alert.peak_score else alert
    return replace(
        peak,
        alert_id=alert.alert_id,
        revision=alert.revision,
        state=alert.state,
        severity=Severity.CRITICAL if critical else Severity.WARNING,
        opened_at=alert.opened_at,
        updated_at=later.updated_at,
        first_sequence=alert.first_sequence,
        last_sequence=later.last_sequence,
        count=count,
    )


def _told(alert: Alert, state: AlertState, at: datetime) -> Alert:
    """The next revision; `at` is when the last frame that it speaks of was captured."""
    return replace(alert, revision=alert.revision + 1, state=state, updated_at=at)


def _as_told(alert: Alert, frame: int) -> Incident:
    return Incident(alert=alert, told_frame=frame, told_peak=alert.peak_score)
