"""Alerts: their state, the live stream, and actions that count once."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from console.api.alert_feed import BACKLOG, AlertFeed
from console.api.roles import Role
from sightline import samples
from sightline.client import Client
from sightline.contracts import ActionKind, AlertState
from sightline.errors import BrokerError

ALERT = samples.alert(sequence=1)
ACTIONS = f"/v1/alerts/{ALERT.alert_id}/actions"


@pytest.fixture
def operator(deployment):
    return deployment.client(Role.OPERATOR)


def test_an_action_is_the_event_that_the_contract_says(deployment, operator) -> None:
    body = {"kind": "confirm", "defect_type": "scratch", "comment": " tool 4 "}
    answer = operator.post(ACTIONS, json=body)
    (action,) = deployment.sink.taken
    assert answer.status_code == 201
    assert (action.kind, action.defect_type, action.comment) == (ActionKind.CONFIRM, "scratch", "tool 4")
    assert (action.alert_id, action.actor) == (ALERT.alert_id, "key:test operator")
    assert answer.json()["action_id"] == action.action_id


def test_clicking_twice_is_one_action_and_two_people_are_two(deployment, operator) -> None:
    again = {"Idempotency-Key": "click-1"}
    answers = [operator.post(ACTIONS, json={"kind": "acknowledge"}, headers=again) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json() == answers[1].json()
    other = deployment.client(Role.ENGINEER).post(ACTIONS, json={"kind": "acknowledge"}, headers=again)
    assert other.status_code == 201
    assert len(deployment.sink.taken) == 2
    clash = operator.post(ACTIONS, json={"kind": "false-alarm"}, headers=again)
    assert (clash.status_code, clash.json()["type"]) == (409, "urn:sightline:problem:idempotency-key")


def test_while_the_broker_is_away_nothing_is_claimed_and_the_retry_is_the_same_action(deployment, operator) -> None:
    headers, deployment.sink.away = {"Idempotency-Key": "click-2"}, True
    refused = operator.post(ACTIONS, json={"kind": "acknowledge"}, headers=headers)
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:sightline:problem:broker-unavailable")
    assert operator.get(f"/v1/alerts/{ALERT.alert_id}").json()["actions"] == []
    deployment.sink.away = False
    assert operator.post(ACTIONS, json={"kind": "acknowledge"}, headers=headers).status_code == 201
    assert operator.post(ACTIONS, json={"kind": "acknowledge"}, headers=headers).status_code == 200
    assert len(deployment.sink.taken) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "explode"},
        {"kind": "comment"},
        {"kind": "comment", "comment": "   "},
        {"kind": "acknowledge", "defect_type": "scratch"},
        {"kind": "confirm", "defect_type": "a\x00b"},
        {"kind": "comment", "comment": "x" * 2001},
    ],
)
def test_actions_that_make_no_sense_are_refused(deployment, operator, body) -> None:
    assert operator.post(ACTIONS, json=body).status_code == 422
    assert not deployment.sink.taken


def test_a_body_that_is_too_large_is_not_read_to_its_end(operator) -> None:
    answer = operator.post(ACTIONS, json={"kind": "comment", "comment": "x" * 100_000})
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


def test_an_unknown_alert_and_a_closed_one_are_told_apart(deployment, operator) -> None:
    unknown = operator.post(ACTIONS.replace(ALERT.alert_id, "0" * 32), json={"kind": "acknowledge"})
    assert unknown.status_code == 404
    deployment.services.feed._publish([replace(ALERT, revision=9, state=AlertState.CLOSED)])
    closed = operator.post(ACTIONS, json={"kind": "acknowledge"})
    assert (closed.status_code, closed.json()["type"]) == (409, "urn:sightline:problem:alert-closed")
    assert operator.post(ACTIONS, json={"kind": "false-alarm"}).status_code == 201


def test_an_alert_of_this_second_can_be_answered_before_any_table_has_it(deployment, operator) -> None:
    fresh = samples.alert("cam-9")
    deployment.services.feed._publish([fresh])
    assert operator.post(f"/v1/alerts/{fresh.alert_id}/actions", json={"kind": "acknowledge"}).status_code == 201


def test_what_was_done_shows_at_once_and_once(history, deploy) -> None:
    history.write(ALERT, replace(samples.operator_action(), alert_id=ALERT.alert_id))
    deployment = deploy()
    operator = deployment.client(Role.OPERATOR)
    assert operator.get("/v1/alerts").json()["items"][0]["answer"] == "confirm"
    operator.post(ACTIONS, json={"kind": "false-alarm"})
    found = operator.get(f"/v1/alerts/{ALERT.alert_id}").json()
    assert [action["kind"] for action in found["actions"]] == ["confirm", "false-alarm"]
    assert (found["answer"], found["answered_by"]) == ("false-alarm", "key:test operator")
    history.write(*deployment.sink.taken)
    assert len(deploy().client(Role.VIEWER).get(f"/v1/alerts/{ALERT.alert_id}").json()["actions"]) == 2


def test_alerts_are_filtered_by_state(operator) -> None:
    assert len(operator.get("/v1/alerts?state=opened&severity=warning").json()["items"]) == 1
    assert operator.get("/v1/alerts?state=closed").json()["items"] == []


def test_a_stream_begins_with_what_is_open_and_goes_on_with_what_happens(deployment) -> None:
    feed = deployment.services.feed
    closed = samples.alert("cam-3", state=AlertState.CLOSED, revision=3)
    feed._publish([closed, replace(ALERT, revision=1), ALERT])
    feed.stop()
    client = Client("", deployment.key(Role.VIEWER)["Authorization"].split()[1], http=deployment.client())
    assert list(client.alert_stream()) == [replace(ALERT, revision=1)]


def test_every_listener_hears_every_change_once_and_a_slow_one_is_sent_away() -> None:
    async def listen() -> None:
        feed = AlertFeed(lambda: None)
        later = replace(ALERT, revision=1, state=AlertState.UPDATED)
        async with feed.listen() as (_, quick), feed.listen() as (_, slow):
            feed._publish([ALERT, later, later])
            await asyncio.sleep(0)
            assert [quick.get_nowait(), quick.get_nowait()] == [ALERT, later]
            assert quick.empty()
            feed._publish([samples.alert(sequence=n) for n in range(1000, 1000 + BACKLOG)])
            await asyncio.sleep(0)
            assert slow.get_nowait() is None
            assert quick.qsize() == BACKLOG

    asyncio.run(listen())


def test_a_broker_that_is_away_is_said_to_be_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.following.RETRY_SECONDS", 0.0)
    tries, reached = [], threading.Event()

    class Once:
        def poll(self, seconds):
            reached.set()
            return [ALERT]

        def close(self):
            tries.append("closed")

    def subscribe():
        tries.append(feed.fault)
        if len(tries) < 3:
            raise BrokerError("no broker answers")
        return Once()

    feed = AlertFeed(subscribe)
    feed.start()
    assert reached.wait(60)
    feed.stop()
    assert feed.latest(ALERT.alert_id) == ALERT
    assert tries[1:] == ["no broker answers", "no broker answers", "closed"]
    assert feed.fault is None
