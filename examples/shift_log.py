"""One line of CSV for each incident that has closed, and its picture beside it: a log for the shift's handover.

    python examples/shift_log.py shift.csv pictures

Goes on where it stopped when it is started again, so that no incident is missing; after a crash the last ones may stand
there twice, with the same id.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from sightline.contracts import AlertState
from sightline.subscriber import AlertSubscriber


def main(file: Path, pictures: Path) -> None:
    """Follow the alerts until Ctrl-C."""
    pictures.mkdir(parents=True, exist_ok=True)
    # the name is how the broker remembers this script; another one needs another name
    with AlertSubscriber(start="earliest", name="alerts-shift-log") as alerts, file.open("a", newline="") as out:
        rows = csv.writer(out)
        for alert in alerts:
            if alert.state is not AlertState.CLOSED:
                continue
            seconds = (alert.updated_at - alert.opened_at).total_seconds()
            rows.writerow(
                [alert.opened_at.isoformat(), alert.camera, alert.severity, alert.count, seconds, alert.alert_id]
            )
            out.flush()
            if alert.thumbnail:
                (pictures / f"{alert.alert_id}.jpg").write_bytes(alert.thumbnail)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
