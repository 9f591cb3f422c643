"""Charts, thresholds and one part's way: figures counted by hand, and what is said to a bad question."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from console.api.roles import Role
from console.engineering.line_metrics import planned_minutes
from sightline import samples
from sightline.codec import digest_id
from sightline.contracts import ActionKind, CameraEventKind, Verdict

WEEK = {"since": "2026-03-01T00:00:00Z", "until": "2026-03-08T00:00:00Z"}


@pytest.fixture
def viewer(deployment):
    return deployment.client(Role.VIEWER)


@pytest.fixture
def shift(history, deploy):
    """Ten hours of cam-1, of each 20 frames: 1 defect in the first eight, 8 in the ninth, none in the tenth."""
    frames = []
    for hour in range(10):
        defects = (1, 1, 1, 1, 1, 1, 1, 1, 8, 0)[hour]
        for nth in range(20):
            bad = nth < defects
            frames.append(
                samples.inspection(
                    sequence=hour * 36_000 + nth * 10,
                    score=0.7 + nth / 100 if bad else 0.2 + nth / 100,
                    verdict=Verdict.DEFECT if bad else Verdict.OK,
                )
            )
    history.write(*frames)
    return deploy().client(Role.VIEWER)


def test_the_share_of_defects_is_told_by_line_and_interval(viewer) -> None:
    found = viewer.get("/v1/charts/defect-rate", params=WEEK | {"camera": "cam-1"}).json()
    (point,) = found["points"]
    assert (point["time"], point["line"], point["inspected"], point["defects"]) == (
        "2026-03-02T06:00:00Z",
        "line-a",
        3,
        1,
    )
    assert point["rate"] == pytest.approx(1 / 3)
    assert found["seconds"] == 3600


def test_without_times_the_last_week_that_has_frames_is_meant(viewer) -> None:
    found = viewer.get("/v1/charts/defect-rate").json()
    assert found["until"] == "2026-03-03T10:16:40.000001Z"
    assert found["since"] == "2026-03-02T06:30:00Z", "there is no frame before"


def test_the_first_hours_of_a_line_are_told_by_the_minute(history, deploy) -> None:
    history.write(*(samples.inspection(sequence=600 * minute) for minute in range(5)))
    found = deploy().client(Role.VIEWER).get("/v1/charts/defect-rate").json()
    assert (found["seconds"], len(found["points"])) == (60, 5)


def test_types_are_ranked_by_the_last_answer_of_each_incident(history, deploy) -> None:
    alerts = [samples.alert(sequence=40 * n) for n in range(1, 7)]
    kinds = [("scratch",), ("scratch",), ("dent",), ("dent", None), (), (None,)]
    actions = [
        replace(
            samples.operator_action(),
            action_id=digest_id(alert.alert_id, nth),
            alert_id=alert.alert_id,
            at=alert.opened_at + timedelta(seconds=nth),
            kind=ActionKind.CONFIRM if defect else ActionKind.FALSE_ALARM,
            defect_type=defect,
        )
        for alert, answers in zip(alerts, kinds, strict=True)
        for nth, defect in enumerate(answers)
    ]
    history.write(samples.inspection(), *alerts, *actions)
    found = deploy().client(Role.VIEWER).get("/v1/charts/defect-types", params=WEEK).json()
    assert [(one["defect_type"], one["incidents"]) for one in found["types"]] == [("scratch", 2), ("dent", 1)]
    assert [one["cumulative"] for one in found["types"]] == pytest.approx([2 / 3, 1])
    assert (found["confirmed"], found["false_alarms"], found["unanswered"]) == (3, 2, 1)


def test_limits_come_from_the_baseline_and_a_bad_hour_stands_out(shift) -> None:
    asked = {"baseline_until": "2026-03-02T14:00:00Z", "widened": False}
    found = shift.get("/v1/charts/fractions", params=asked).json()
    chart = found["chart"]
    # 8 of 160; 0.05 + 3 sqrt(0.05 * 0.95 / 20) = 0.1962
    assert chart["center"] == pytest.approx(0.05)
    assert chart["points"][0]["upper"] == pytest.approx(0.1962, abs=1e-4)
    assert [point["rules"] for point in chart["points"]][8:] == [["one beyond 3σ"], []]


def test_subgroups_leave_defects_out(shift) -> None:
    found = shift.get("/v1/charts/subgroups", params={"camera": "cam-1", "size": 20}).json()
    sizes = [point["size"] for point in found["mean"]["points"]]
    assert sizes == [19] * 8 + [12, 20]
    # 0.20 to 0.39 in steps of 0.01
    assert found["mean"]["points"][-1]["value"] == pytest.approx(0.295)
    assert found["deviation"]["points"][-1]["value"] == pytest.approx(0.05916, abs=1e-5)


def test_line_metrics_divide_what_they_say(history, deploy) -> None:
    # of ten minutes the camera saw frames in six, and was there in one more
    for minute, frames in enumerate((30, 30, 30, 30, 20, 10)):
        history.write(*(samples.inspection(sequence=minute * 600 + 10 * n) for n in range(frames)))
    history.write(samples.inspection(sequence=5, verdict=Verdict.DEFECT, score=0.9))
    history.write(samples.camera_event(kind=CameraEventKind.HEARTBEAT, next_sequence=6 * 600 + 1))
    asked = {"since": "2026-03-02T06:30:00Z", "until": "2026-03-02T06:40:00Z", "planned_rate": 30}
    found = deploy().client(Role.VIEWER).get("/v1/charts/line-metrics", params=asked).json()
    (line,) = found["lines"]
    assert (line["planned_minutes"], line["running_minutes"], line["silent_minutes"]) == (10, 6, 3)
    assert (line["availability"], line["quality"]) == pytest.approx((0.6, 150 / 151))
    assert line["performance"] == pytest.approx(151 / 180)
    assert line["oee"] == pytest.approx(0.6 * 151 / 180 * 150 / 151)
    assert "not measured scrap" in " ".join(found["notes"])


def test_planned_minutes_are_those_of_the_shift() -> None:
    begin, end = datetime(2026, 3, 2, 5, tzinfo=UTC), datetime(2026, 3, 3, 7, 30, tzinfo=UTC)
    assert planned_minutes(begin, end, (6, 22)) == 16 * 60 + 90
    assert planned_minutes(begin, end, (0, 24)) == 26 * 60 + 30
    late = timedelta(seconds=40)
    assert planned_minutes(begin + late, begin + timedelta(minutes=2) + late, (0, 24)) == 3, "frames are in all three"


def test_another_threshold_is_told_with_what_it_would_lose_and_save(history, deploy) -> None:
    alert = samples.alert(sequence=0, revision=1)  # until sequence 12
    said = replace(samples.operator_action(), alert_id=alert.alert_id)
    false = replace(samples.alert(sequence=100), alert_id=digest_id("false"), peak_score=0.66)
    refused = replace(said, action_id=digest_id("no"), alert_id=false.alert_id, kind=ActionKind.FALSE_ALARM)
    judged = Verdict.DEFECT
    history.write(
        samples.inspection(sequence=0, score=0.64, verdict=judged),
        samples.inspection(sequence=1, score=0.9, verdict=judged),
        samples.inspection(sequence=100, score=0.66, verdict=judged),
        samples.inspection(sequence=200, score=0.63, verdict=judged),
        samples.inspection(sequence=201, score=0.58, verdict=Verdict.REVIEW, label="dent"),
        samples.inspection(sequence=202, score=0.1, label="good"),
        alert, said, false, refused,
    )  # fmt: skip
    viewer = deploy().client(Role.VIEWER)
    asked = {"product": "bottle_cap", "threshold": 0.7}
    found = viewer.get("/v1/charts/thresholds", params=asked).json()
    assert (found["used_threshold"], found["used_review"], found["review"]) == (0.62, 0.58, 0.58)
    assert found["then"] == {"ok": 1, "review": 1, "defect": 4}
    assert found["now"] == {"ok": 1, "review": 4, "defect": 1}
    assert found["no_longer"] == {"good": 1, "defective": 1, "unknown": 1}
    assert (found["known"], found["known_by_operators"]) == (5, 3)
    assert (found["alerts"], found["alerts_left"]) == (2, 1)
    assert sum(bar["good"] + bar["defective"] + bar["unknown"] for bar in found["histogram"]) == 6
    lower = viewer.get("/v1/charts/thresholds", params=asked | {"threshold": 0.5}).json()
    assert lower["newly"] == {"good": 0, "defective": 1, "unknown": 0}
    assert lower["alerts_left"] is None


def test_a_part_is_followed_from_capture_to_answer(history, deploy) -> None:
    alert = samples.alert(sequence=40, revision=1)
    defect = samples.inspection(sequence=45, score=0.9, verdict=Verdict.DEFECT)
    history.write(defect, samples.inspection(sequence=44), samples.inspection(sequence=50), alert)
    history.write(samples.operator_action(), samples.shadow_inspection(sequence=45))
    history.archive(defect)
    viewer = deploy().client(Role.VIEWER)
    href = viewer.get("/v1/inspections?verdict=defect").json()["items"][0]["href"]
    found = viewer.get(href.replace("?", "/trace?")).json()
    assert [(one["name"], one["milliseconds"]) for one in found["stages"]] == [
        ("captured", None), ("ingested", 14), ("decoded", 107), ("scored", 28), ("published", 13),
    ]  # fmt: skip
    assert found["total_milliseconds"] == 162
    assert (found["archived"], found["alert"]["alert_id"], found["alert"]["answer"]) == (
        True,
        alert.alert_id,
        "confirm",
    )
    assert found["actions"][0]["comment"] == "tool 4 changed"
    assert found["challenger"]["score"] == 0.21
    assert [one["sequence"] for one in found["neighbours"]] == [44, 45]


def test_inspections_are_found_by_the_type_that_operators_confirmed(history, deploy) -> None:
    alert = samples.alert(sequence=40, revision=1)
    history.write(
        samples.inspection(sequence=45, score=0.9, verdict=Verdict.DEFECT),
        samples.inspection(sequence=46),
        samples.inspection(sequence=90, score=0.9, verdict=Verdict.DEFECT),
        samples.inspection(sequence=91, label="scratch"),
        alert, samples.operator_action(),
    )  # fmt: skip
    viewer = deploy().client(Role.VIEWER)
    found = viewer.get("/v1/inspections", params={"defect_type": "scratch"}).json()["items"]
    assert [row["sequence"] for row in found] == [91, 45]
    assert viewer.get("/v1/inspections", params={"defect_type": "dent"}).json()["items"] == []


@pytest.mark.parametrize(
    ("path", "asked", "status", "says"),
    [
        ("defect-rate", {"camera": "cam-9"}, 404, "there is no camera 'cam-9'; known: cam-1, cam-2"),
        ("defect-rate", {"since": "2026-03-08T00:00:00Z", "until": "2026-03-01T00:00:00Z"}, 422, "after the begin"),
        ("defect-rate", {"since": "soon"}, 422, "since"),
        ("defect-rate", {"seconds": 1}, 422, "seconds"),
        ("fractions", {}, 422, "at least 8 are needed"),
        ("fractions", {"baseline_since": "2026-03-08T00:00:00Z", "baseline_until": "2026-03-01T00:00:00Z"}, 422,
         "baseline_until"),
        ("fractions", {"since": "2026-04-01T00:00:00Z"}, 404, "no frame"),
        ("subgroups", {}, 422, "name the camera"),
        ("line-metrics", {"shift_begin": 22, "shift_end": 6}, 422, "past midnight"),
        ("champions", {"product": "bottle_cap"}, 404, "was judged by champion and challenger"),
        ("thresholds", {"product": "gasket"}, 404, "there is no product 'gasket'; known: bottle_cap"),
        ("thresholds", {"product": "bottle_cap", "threshold": 0.5, "review": 0.6}, 422, "above the threshold"),
        ("thresholds", {"product": "bottle_cap", "threshold": "inf"}, 422, "threshold"),
    ],
)  # fmt: skip
def test_bad_questions_are_answered_with_what_is_wrong(viewer, path, asked, status, says) -> None:
    answer = viewer.get(f"/v1/charts/{path}", params=asked)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert says in answer.json()["detail"]


def test_a_table_that_is_not_there_is_named_with_what_writes_it(history, deploy) -> None:
    history.write(samples.inspection())
    viewer = deploy().client(Role.VIEWER)
    for path, writer in (("drift", "sightline drift"), ("champions?product=x", "shadow_inspections")):
        answer = viewer.get(f"/v1/charts/{path}")
        assert (answer.status_code, writer in answer.json()["detail"]) == (503, True)


WINDOW = {
    "camera": "cam-1", "product": "bottle_cap", "detector_version": "3", "detector_digest": "5f" * 32,
    "window_start": samples.START, "window_end": samples.START + timedelta(days=1), "frames": 900,
    "reference_frames": 900, "reference_start": samples.START, "reference_end": samples.START, "mean": 0.3,
    "reference_mean": 0.2, "watch": 0.1, "act": 0.25, "chance": 0.02, "computed_at": samples.START,
    "day": samples.START.date(), "statistic": "psi",
}  # fmt: skip


def test_drift_is_shown_worst_first(history, deploy) -> None:
    history.write(samples.inspection())
    history.rows(
        "gold_drift",
        [
            WINDOW | {"measure": "blur", "value": 0.01, "status": "ok"},
            WINDOW | {"measure": "score", "value": 0.4, "status": "drift"},
        ],
    )
    found = deploy().client(Role.VIEWER).get("/v1/charts/drift", params={"line": "line-a"}).json()
    assert [(one["measure"], one["status"]) for one in found["series"]] == [("score", "drift"), ("blur", "ok")]
    assert found["series"][0]["points"][0]["value"] == 0.4


def test_drift_ends_with_the_window_that_is_not_over_and_not_with_one_of_another_century(history, deploy) -> None:
    begun = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    starts = (begun - timedelta(days=1), begun, begun + timedelta(days=73 * 365))
    figures = {"measure": "score", "value": 0.4, "status": "drift"}
    history.write(samples.inspection())
    history.rows(
        "gold_drift",
        [
            WINDOW | figures | {"window_start": at, "window_end": at + timedelta(days=1), "day": at.date()}
            for at in starts
        ],
    )
    found = deploy().client(Role.VIEWER).get("/v1/charts/drift").json()
    shown = [datetime.fromisoformat(point["window_start"]) for point in found["series"][0]["points"]]
    assert shown == list(starts[:2])
    assert datetime.fromisoformat(found["until"]) > begun + timedelta(days=1)


def test_champion_and_challenger_are_compared(history, deploy) -> None:
    for n in range(4):
        history.write(samples.inspection(sequence=n, score=0.1 * n), samples.shadow_inspection(sequence=n))
    found = deploy().client(Role.VIEWER).get("/v1/charts/champions", params={"product": "bottle_cap"}).json()
    assert (found["champion"], found["challenger"], found["frames"], found["agreement"]) == ("3", "4", 4, 1.0)
