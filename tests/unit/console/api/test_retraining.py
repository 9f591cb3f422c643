"""Retraining: begun, followed, ended; and what a training run left."""

from __future__ import annotations

from collections.abc import Callable

import psutil
import pytest

from console.api.retraining import Phase, Retrainings
from console.api.roles import Role
from sightline.errors import PrerequisiteError


@pytest.fixture
def engineer(deployment):
    return deployment.client(Role.ENGINEER)


def test_a_retraining_is_followed_to_the_gates_refusal(deployment, engineer) -> None:
    assert engineer.get("/v1/retraining").status_code == 404
    begun = engineer.post("/v1/detectors/washer/retraining", json={"force": True})
    assert (begun.status_code, begun.json()["actor"]) == (202, "key:test engineer")
    deployment.services.retrainings.wait(30)
    told = engineer.get("/v1/retraining").json()
    assert (told["phase"], told["product"]) == ("refused", "washer")
    assert told["log"] == ["learning from --policy=propose --json --progress-lines --force -- washer"]
    assert told["outcome"]["why"] == ["f1 is below"]
    stream = engineer.get("/v1/retraining/stream").text
    assert stream.count("event: state") == 1
    events = [entry["event"] for entry in deployment.client(Role.ADMIN).get("/v1/audit").json()["items"]]
    assert events.count("retraining") == events.count("retraining-ended") == 1


def test_one_runs_at_a_time_and_can_be_cancelled(deployment) -> None:
    retrainings = deployment.services.retrainings
    engineer = deployment.client(Role.ENGINEER)
    retrainings.start("slow", "ines", policy="propose", force=False, if_drifted=False)
    busy = engineer.post("/v1/detectors/washer/retraining", json={})
    assert busy.status_code == 409
    assert "slow is being retrained" in busy.json()["detail"]
    assert engineer.get("/v1/retraining").json()["phase"] == "running"
    assert engineer.delete("/v1/retraining").status_code == 202
    retrainings.wait(30)
    assert engineer.get("/v1/retraining").json()["phase"] == "cancelled"
    assert engineer.delete("/v1/retraining").status_code == 409


@pytest.fixture
def full_disk(deployment) -> Callable[[bool], None]:
    """Makes the disk full for the state of a retraining, or frees it: a folder stands where the file would be made."""
    folder = deployment.services.settings.folder / "retraining" / "retraining.new"

    def fill(full: bool) -> None:
        folder.mkdir(parents=True) if full else folder.rmdir()

    return fill


def test_a_retraining_whose_end_cannot_be_written_lets_the_next_one_begin(deployment, full_disk) -> None:
    retrainings = deployment.services.retrainings
    engineer = deployment.client(Role.ENGINEER)
    retrainings.start("slow", "ines", policy="propose", force=False, if_drifted=False)
    full_disk(True)
    retrainings.cancel("ines")
    retrainings.wait(30)
    assert retrainings.last().phase is Phase.CUT_OFF
    assert engineer.delete("/v1/retraining").status_code == 409
    entry = deployment.client(Role.ADMIN).get("/v1/audit").json()["items"][0]
    assert (entry["event"], entry["details"]["result"]) == ("retraining-ended", "cancelled")
    full_disk(False)
    assert engineer.post("/v1/detectors/washer/retraining", json={}).status_code == 202
    retrainings.wait(30)


def test_a_retraining_whose_begin_cannot_be_written_is_ended(deployment, full_disk) -> None:
    retrainings = deployment.services.retrainings
    full_disk(True)
    before = children()
    with pytest.raises(PrerequisiteError, match="cannot be started"):
        retrainings.start("slow", "ines", policy="propose", force=False, if_drifted=False)
    assert children() == before
    full_disk(False)
    retrainings.start("washer", "ines", policy="propose", force=False, if_drifted=False)
    retrainings.wait(30)
    assert retrainings.last().phase is Phase.REFUSED


def children() -> set[int]:
    """Processes that this one has started and that have not been waited for."""
    return {child.pid for child in psutil.Process().children()}


def test_how_far_it_is_stands_in_the_log(tmp_path, deployment) -> None:
    retrainings = deployment.services.retrainings
    retrainings.start("washer", "ines", policy="propose", force=False, if_drifted=False)
    retrainings.wait(30)
    progress, lines = retrainings.told()
    assert (progress.step, progress.done, progress.total) == ("testing", 3, 10)
    assert not any("progress" in line.split()[0] for line in lines)


def test_what_a_stopped_server_left_behind_is_not_said_to_run(deployment) -> None:
    first = deployment.services.retrainings
    first.start("slow", "ines", policy="propose", force=False, if_drifted=False)
    folder = deployment.services.settings.folder
    assert Retrainings(folder, deployment.services.audit).last().phase is Phase.CUT_OFF
    first.close()
    assert first.last().phase is Phase.CUT_OFF


def test_a_product_without_a_detector_is_not_retrained(engineer) -> None:
    assert engineer.post("/v1/detectors/gasket/retraining", json={}).status_code == 404
    assert engineer.post("/v1/detectors/washer/retraining", json={"policy": "at once"}).status_code == 422


def test_files_of_a_run_are_handed_on_only_as_what_they_are(engineer) -> None:
    listed = [file["path"] for file in engineer.get("/v1/detectors/washer/1/files").json()["items"]]
    assert listed == ["evaluation/roc.png", "evaluation/fake.png", "evaluation/scores.csv"]
    place = "/v1/detectors/washer/1/file"
    plot = engineer.get(place, params={"path": "evaluation/roc.png"})
    assert (plot.headers["content-type"], plot.headers["x-content-type-options"]) == ("image/png", "nosniff")
    assert engineer.get(place, params={"path": "evaluation/fake.png"}).status_code == 415
    for path in ("evaluation/report.html", "../../etc/passwd", "detector/detector.onnx"):
        assert engineer.get(place, params={"path": path}).status_code == 404, path


def test_what_the_gate_said_is_told(deployment, engineer) -> None:
    assert engineer.get("/v1/detectors/washer/2/gate").json()["result"] is None
    names = {"result": "refused", "why": "f1 0.8 is below 0.9", "champion": "1", "policy": "propose"}
    deployment.records.said = {f"sightline.retraining.{name}": value for name, value in names.items()}
    assert engineer.get("/v1/detectors/washer/2/gate").json() == names
