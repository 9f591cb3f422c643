"""Answers the alerts of known test parts by itself, through the API, so that nobody has to.

    SIGHTLINE_KEY=… python examples/acknowledge_test_parts.py http://127.0.0.1:8765 cam-calibration

The key needs the role operator: `sightline keys create test-parts --role operator`.
"""

from __future__ import annotations

import os
import sys

from sightline.client import Client
from sightline.contracts import ActionKind, AlertState


def main(url: str, camera: str) -> None:
    """Follow the stream until the API ends it."""
    with Client(url, os.environ["SIGHTLINE_KEY"]) as sightline:
        for alert in sightline.alert_stream():
            if alert.camera == camera and alert.state is AlertState.OPENED:
                # the same key for the same alert: started twice, this still answers once
                sightline.act(
                    alert.alert_id,
                    ActionKind.COMMENT,
                    comment="test part of the morning check",
                    idempotency_key=f"test-part-{alert.alert_id}",
                )
                print(f"commented {alert.alert_id}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
