"""Which alerts a receiver is told of."""

from __future__ import annotations

from console.notify.settings import Place, Rules
from sightline.contracts import Alert, AlertState


def concerns(place: Place, line: str, camera: str, product: str) -> bool:
    """Whether something at this place is any business of the receiver."""
    return (
        (not place.lines or line in place.lines)
        and (not place.cameras or camera in place.cameras)
        and (not place.products or product in place.products)
    )


def is_loud(place: Place, alert: Alert) -> bool:
    """Whether the alert is severe enough for the receiver."""
    return not place.severities or alert.severity in place.severities


def is_wanted(rules: Rules, alert: Alert, *, muted: bool, announced: bool) -> bool:
    """Whether this revision is sent to a receiver; `announced` is whether an earlier one of its incident was.

    Incidents grow: the first revision that is severe enough and not muted is told to a receiver of openings, whatever
    its own state says, or nobody would hear of one that turned critical or outlasted a mute. And what was told as open
    is told as closed, muted or not.
    """
    if not concerns(rules, alert.line, alert.camera, alert.product):
        return False
    loud = is_loud(rules, alert) and not muted
    if alert.state is AlertState.CLOSED:
        return AlertState.CLOSED in rules.states and (announced or (loud and AlertState.OPENED not in rules.states))
    if not loud:
        return False
    return alert.state in rules.states or (not announced and AlertState.OPENED in rules.states)
