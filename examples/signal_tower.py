"""A signal tower: red while a critical incident is open on the line, yellow while a milder one is, else green.

    python examples/signal_tower.py line-1

It begins with what is open now. `show` is the one place to change: a relay, a GPIO pin, a PLC.
"""

from __future__ import annotations

import sys

from sightline.contracts import Alert, AlertState, Severity
from sightline.subscriber import AlertSubscriber


def main(line: str) -> None:
    """Follow the alerts until Ctrl-C."""
    still_open: dict[str, Alert] = {}
    show(line, "green")
    with AlertSubscriber(start="open") as alerts:
        for alert in alerts:
            if alert.line != line:
                continue
            if alert.state is AlertState.CLOSED:
                still_open.pop(alert.alert_id, None)
            else:
                still_open[alert.alert_id] = alert
            show(line, colour(still_open))


def colour(still_open: dict[str, Alert]) -> str:
    """What the tower shows for these incidents."""
    if any(alert.severity is Severity.CRITICAL for alert in still_open.values()):
        return "red"
    return "yellow" if still_open else "green"


def show(line: str, light: str) -> None:
    print(f"{line}: {light}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
