"""Mutes and maintenance windows: who may set them, for how long, and what they do to the feed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from console.api.roles import Role
from console.mutes import MuteBook
from sightline import samples
from sightline.client import Client
from sightline.contracts import ActionKind, Mute, Severity


def soon(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


def test_a_mute_is_an_event_with_who_and_until_when(deployment) -> None:
    answer = deployment.client(Role.OPERATOR).post("/v1/mutes", json={"camera": "cam-1", "minutes": 30, "comment": "x"})
    (action,) = deployment.sink.taken
    assert (answer.status_code, action.kind, action.actor) == (201, ActionKind.MUTE, "key:test operator")
    assert (action.mute.camera, action.mute.ends_at - action.mute.starts_at) == ("cam-1", timedelta(minutes=30))
    assert action.alert_id == answer.json()["mute_id"]


def test_an_operator_may_mute_for_a_shift_and_an_engineer_for_days(deployment) -> None:
    operator, engineer = deployment.client(Role.OPERATOR), deployment.client(Role.ENGINEER)
    assert operator.post("/v1/mutes", json={"line": "line-a", "minutes": 480}).status_code == 201
    assert operator.post("/v1/mutes", json={"line": "line-a", "minutes": 481}).status_code == 422
    window = {"line": "line-a", "starts_at": soon(days=1), "ends_at": soon(days=3)}
    assert operator.post("/v1/maintenance-windows", json=window).status_code == 403
    assert engineer.post("/v1/maintenance-windows", json=window).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        {"minutes": 30},
        {"camera": "cam-1", "minutes": 0},
        {"camera": "cam-1", "minutes": 30, "severity": "bad"},
        {"camera": "cam-1", "minutes": 30, "until": "2026-01-01"},
    ],
)
def test_mutes_that_make_no_sense_are_refused(deployment, body) -> None:
    assert deployment.client(Role.ADMIN).post("/v1/mutes", json=body).status_code == 422
    assert deployment.sink.taken == []


def test_windows_need_an_end_after_their_beginning_and_within_two_weeks(deployment) -> None:
    engineer = deployment.client(Role.ENGINEER)
    for times in (
        {"ends_at": soon(hours=-1)},
        {"starts_at": soon(hours=3), "ends_at": soon(hours=2)},
        {"ends_at": soon(days=15)},
    ):
        assert engineer.post("/v1/maintenance-windows", json={"camera": "cam-1"} | times).status_code == 422


def test_the_same_request_again_is_the_same_mute(deployment) -> None:
    operator, key = deployment.client(Role.OPERATOR), {"Idempotency-Key": "click"}
    answers = [operator.post("/v1/mutes", json={"camera": "cam-1", "minutes": 5}, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json() == answers[1].json()
    assert len(deployment.sink.taken) == 1
    operator.delete(f"/v1/mutes/{answers[0].json()['mute_id']}")
    ended = operator.post("/v1/mutes", json={"camera": "cam-1", "minutes": 5}, headers=key)
    assert (ended.status_code, ended.json()["ended_by"]) == (200, "key:test operator")


def test_a_key_of_another_request_is_refused(deployment) -> None:
    engineer, key = deployment.client(Role.ENGINEER), {"Idempotency-Key": "click"}
    first = {"camera": "cam-1", "minutes": 5}
    assert engineer.post("/v1/mutes", json=first, headers=key).status_code == 201
    for path, other in (
        ("mutes", first | {"camera": "cam-2"}),
        ("mutes", first | {"minutes": 6}),
        ("mutes", first | {"comment": "lens"}),
        ("maintenance-windows", {"camera": "cam-1", "ends_at": soon(minutes=5)}),
    ):
        clash = engineer.post(f"/v1/{path}", json=other, headers=key)
        assert (clash.status_code, clash.json()["type"]) == (409, "urn:sightline:problem:idempotency-key")
    assert len(deployment.sink.taken) == 1


def test_a_window_asked_for_again_with_another_time_is_another_request(deployment) -> None:
    engineer, key = deployment.client(Role.ENGINEER), {"Idempotency-Key": "click"}
    window = {"camera": "cam-1", "starts_at": soon(hours=1), "ends_at": soon(hours=2)}
    answers = [engineer.post("/v1/maintenance-windows", json=window, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    for other in ({"starts_at": soon(minutes=30)}, {"ends_at": soon(hours=3)}):
        assert engineer.post("/v1/maintenance-windows", json=window | other, headers=key).status_code == 409
    assert len(deployment.sink.taken) == 1


def test_what_the_broker_did_not_take_is_sent_by_the_same_request(deployment) -> None:
    operator, key = deployment.client(Role.OPERATOR), {"Idempotency-Key": "click"}
    mute = {"camera": "cam-1", "minutes": 5}
    deployment.sink.away = True
    assert operator.post("/v1/mutes", json=mute, headers=key).status_code == 503
    deployment.sink.away = False
    assert [operator.post("/v1/mutes", json=mute, headers=key).status_code for _ in range(2)] == [201, 200]
    assert len(deployment.sink.taken) == 1


def test_while_the_broker_is_away_nothing_is_muted(deployment) -> None:
    deployment.sink.away = True
    operator = deployment.client(Role.OPERATOR)
    assert operator.post("/v1/mutes", json={"camera": "cam-1", "minutes": 5}).status_code == 503
    assert operator.get("/v1/mutes").json()["items"] == []


def test_a_mute_is_ended_and_a_window_only_by_an_engineer(deployment) -> None:
    operator, engineer = deployment.client(Role.OPERATOR), deployment.client(Role.ENGINEER)
    mute = operator.post("/v1/mutes", json={"camera": "cam-1", "minutes": 5}).json()["mute_id"]
    window = engineer.post("/v1/maintenance-windows", json={"line": "line-a", "ends_at": soon(days=1)}).json()[
        "mute_id"
    ]
    assert operator.delete(f"/v1/mutes/{window}").status_code == 404
    assert operator.delete(f"/v1/maintenance-windows/{window}").status_code == 403
    assert operator.delete(f"/v1/mutes/{mute}").json()["ended_by"] == "key:test operator"
    assert [one["mute_id"] for one in operator.get("/v1/mutes").json()["items"]] == [window]
    assert engineer.delete(f"/v1/maintenance-windows/{window}").status_code == 200
    assert operator.delete(f"/v1/mutes/{mute}").status_code == 200
    assert operator.get("/v1/mutes").json()["items"] == []
    assert [action.kind.value for action in deployment.sink.taken] == ["mute", "maintenance", "end-mute", "end-mute"]


def test_a_muted_alert_is_in_the_feed_and_marked(deployment) -> None:
    book, alert = deployment.services.mutes.book, samples.alert(sequence=1)
    viewer = deployment.client(Role.VIEWER)
    assert viewer.get("/v1/alerts").json()["items"][0]["muted_until"] is None
    book.apply(samples.muting())
    (shown,) = viewer.get("/v1/alerts").json()["items"]
    assert shown["muted_until"] is None  # its last defect was before the mute began
    whole_line = Mute(starts_at=alert.opened_at, ends_at=alert.opened_at + timedelta(hours=1), line="line-a")
    book.apply(replace(samples.muting(), alert_id="f" * 32, mute=whole_line))
    (shown,) = viewer.get("/v1/alerts").json()["items"]
    assert datetime.fromisoformat(shown["muted_until"]) == alert.opened_at + timedelta(hours=1)
    assert viewer.get(f"/v1/alerts/{alert.alert_id}").json()["muted_until"] == shown["muted_until"]


def test_the_stream_tells_the_mutes_and_the_client_passes_over_them(deployment) -> None:
    feed = deployment.services.feed
    deployment.client(Role.OPERATOR).post("/v1/mutes", json={"camera": "cam-9", "minutes": 5})
    feed._publish([samples.alert()])
    feed.stop()
    client = Client("", deployment.key(Role.VIEWER)["Authorization"].split()[1], http=deployment.client())
    assert list(client.alert_stream()) == [samples.alert()]
    text = deployment.client(Role.VIEWER).get("/v1/alerts/stream").text
    assert "event: mutes" in text
    assert '"camera":"cam-9"' in text


def test_a_mute_holds_back_its_place_its_severity_and_its_time() -> None:
    book, mute = MuteBook(), samples.muting(hours=2)
    book.apply(mute)
    starts = mute.mute.starts_at
    place = {"line": "line-a", "camera": "cam-1", "product": "bottle_cap", "severity": Severity.WARNING, "at": starts}
    assert book.muting(**place)
    assert not book.muting(**place | {"camera": "cam-2"})
    assert not book.muting(**place | {"severity": Severity.CRITICAL})
    assert not book.muting(**place | {"at": starts - timedelta(microseconds=1)})
    # it ends by itself
    assert book.muting(**place | {"at": starts + timedelta(hours=2, microseconds=-1)})
    assert not book.muting(**place | {"at": starts + timedelta(hours=2)})
