"""The whole line on a secured broker: every part is its own user, no frame is missing, no secret is told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

# a training, a broker and two JVMs: minutes even on a quiet machine
pytestmark = pytest.mark.timeout(1800)


def test_the_demo_accounts_for_every_frame_and_tells_no_secret(tmp_path: Path) -> None:
    run = tmp_path / "run"
    environment = {
        **os.environ,
        "SIGHTLINE_RUN": str(run),
        "SIGHTLINE_BROKER_SECURE": "true",
        "SIGHTLINE_BROKER_FREE_DISK_MB": "500",
        # what a plant's object store would need: Spark gets it, the command line of its JVM does not
        "SIGHTLINE_SPARK_CONF": '{"spark.hadoop.fs.s3a.secret.key": "hush-hush"}',
    }
    words = ("demo", "--minutes", "1", "--cameras", "2", "--fps", "2")
    with (tmp_path / "said").open("w+") as said:
        demo = subprocess.Popen(
            [sys.executable, "-m", "sightline", *words], env=environment, stdout=said, stderr=subprocess.STDOUT
        )
        seen: set[str] = set()
        try:
            while demo.poll() is None:
                for process in psutil.process_iter(["cmdline"]):
                    seen.update(process.info["cmdline"] or ())
                time.sleep(1)
        finally:
            demo.terminate()
            demo.wait(60)
        said.seek(0)
        told = said.read()

    # 0: `sightline verify` has found every frame that the cameras published
    assert demo.returncode == 0, told
    folder = run / "kafka" / "security"
    secrets = ["hush-hush", *(path.read_text() for path in folder.glob("*/password"))]
    secrets += [path.read_text().splitlines()[1] for path in (folder / "ca.key", *folder.glob("*/key.pem"))]
    assert len(secrets) == 1 + 7 + 1 + 8
    logs = [
        path.read_text(errors="replace") for path in (*(run / "logs").glob("*.log"), *(run / "kafka").glob("*.log"))
    ]
    for place, texts in {"command line": seen, "log": logs, "output": [told]}.items():
        assert not [place for text in texts for secret in secrets if secret in text]
