"""Webhooks, against a real HTTP server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from console.notify.courier import Courier, backoff
from console.notify.outbox import Outbox
from console.notify.settings import Rules, WebhookSettings
from console.notify.sink import Sink
from console.notify.webhook import WebhookSink
from sightline import samples
from sightline.contracts import Alert, AlertState
from sightline.errors import DeliveryError, SettingsError

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
ALERT = samples.alert()


@pytest.fixture
def sink(http, secret_file: Callable[[str], Path]) -> Callable[..., WebhookSink]:
    return lambda **more: WebhookSink(
        WebhookSettings(url=http.url, secret_file=secret_file(SECRET), **({"timeout_seconds": 20.0} | more))
    )


def tell(sink: Sink, *alerts: Alert) -> None:
    async def one_after_the_other() -> None:
        await sink.open()
        try:
            for alert in alerts:
                await sink.send([alert])
        finally:
            await sink.close()

    asyncio.run(one_after_the_other())


def carry(outbox: Outbox, sinks: dict[str, Sink], until: Callable[[], bool], give_up_hours: float = 1.0) -> None:
    """Run couriers until something is true; fails when it does not become so."""

    async def run() -> None:
        couriers = [
            Courier(name, one, outbox, give_up_hours=give_up_hours, first_pause=0.01) for name, one in sinks.items()
        ]
        tasks = [asyncio.create_task(courier.run()) for courier in couriers]
        async with asyncio.timeout(60):
            while not until():
                await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


def park(outbox: Outbox, *alerts: Alert, sinks: tuple[str, ...] = ("mes",)) -> None:
    outbox.park(alerts, dict.fromkeys(sinks, Rules(states=list(AlertState))), lambda _: False)


def test_the_signature_is_that_of_standard_webhooks_over_id_time_and_body(http, sink) -> None:
    tell(sink(), ALERT)
    ((headers, body),) = http.taken
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-id"] == headers["idempotency-key"] == f"{ALERT.alert_id}.0"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60


def test_the_body_is_the_alert_of_the_topic_with_its_picture_only_on_request(http, sink) -> None:
    tell(sink(), ALERT)
    tell(sink(pictures=True), replace(ALERT, revision=1, state=AlertState.CLOSED))
    first, second = (json.loads(body) for _, body in http.taken)
    assert (first["type"], second["type"]) == ("alert.opened", "alert.closed")
    assert (first["data"]["alert_id"], first["data"]["thumbnail"]) == (ALERT.alert_id, None)
    assert base64.b64decode(second["data"]["thumbnail"]) == samples.JPEG


@pytest.mark.parametrize(("status", "final"), [(400, True), (410, True), (413, True), (401, False), (404, False),
                                               (429, False), (500, False), (503, False)])  # fmt: skip
def test_only_what_can_never_be_taken_is_given_up(http, sink, status: int, final: bool) -> None:
    http.answers = [status]
    with pytest.raises(DeliveryError, match=str(status)) as refused:
        tell(sink(), ALERT)
    assert refused.value.final is final


def test_a_redirect_is_not_followed(http, sink) -> None:
    http.answers, http.headers = [307], {"Location": http.url + "/elsewhere"}
    with pytest.raises(DeliveryError, match="not followed"):
        tell(sink(), ALERT)
    assert len(http.taken) == 1


def test_the_receiver_says_how_long_to_wait(http, sink) -> None:
    http.answers, http.headers = [429], {"Retry-After": "7"}
    with pytest.raises(DeliveryError) as refused:
        tell(sink(), ALERT)
    assert refused.value.wait == 7.0


def test_an_alert_is_sent_again_until_it_is_taken_and_always_with_the_same_id(http, sink, outbox) -> None:
    http.answers = [500, 503, 502]
    park(outbox, ALERT)
    carry(outbox, {"mes": sink()}, lambda: outbox.states()[0].sent == 1)
    assert {headers["webhook-id"] for headers, _ in http.taken} == {f"{ALERT.alert_id}.0"}
    assert (len(http.taken), outbox.states()[0].failed, outbox.states()[0].waiting) == (4, 3, 0)


def test_what_is_refused_for_good_is_counted_and_the_next_one_goes_on(http, sink, outbox) -> None:
    http.answers = [422]
    park(outbox, ALERT, samples.alert("cam-2"))
    carry(outbox, {"mes": sink()}, lambda: outbox.states()[0].sent == 1)
    state = outbox.states()[0]
    assert (state.refused, state.waiting) == (1, 0)
    assert "422" in state.last_error


def test_a_receiver_that_hangs_holds_up_nobody_else(http, sink, outbox, secret_file) -> None:
    http.answers = [-60]
    park(outbox, ALERT, sinks=("hangs",))
    hanging = sink()

    async def soon(alerts: list[Alert]) -> None:
        told.extend(alerts)

    told: list[Alert] = []
    quick = sink()
    quick.send = soon
    park(outbox, samples.alert("cam-2"), sinks=("quick",))
    carry(outbox, {"hangs": hanging, "quick": quick}, lambda: bool(told) and len(http.taken) == 1)
    assert [state.waiting for state in outbox.states() if state.sink == "quick"] == [0]
    assert outbox.take("hangs") != []


def test_a_receiver_that_is_down_loses_nothing(sink, outbox, secret_file, http) -> None:
    down = WebhookSink(WebhookSettings(url="http://127.0.0.1:1/", secret_file=secret_file(SECRET)))
    alerts = [samples.alert("cam-1", 100 * n) for n in range(5)]
    park(outbox, *alerts)
    carry(outbox, {"mes": down}, lambda: bool(outbox.states()) and outbox.states()[0].failed > 2)
    assert outbox.states()[0].waiting == 5
    carry(outbox, {"mes": sink()}, lambda: outbox.states()[0].sent == 5)
    assert sorted(headers["webhook-id"] for headers, _ in http.taken) == sorted(f"{one.alert_id}.0" for one in alerts)


def test_what_has_waited_too_long_is_given_up_and_counted(http, sink, outbox) -> None:
    park(outbox, ALERT)
    carry(outbox, {"mes": sink()}, lambda: outbox.states()[0].waiting == 0, give_up_hours=1e-9)
    assert (outbox.states()[0].given_up, http.taken) == (1, [])


@pytest.mark.parametrize("text", ["secret", "whsec_", "whsec_c2hvcnQ=", ""])
def test_a_weak_secret_is_refused_and_not_shown(http, sink, secret_file, text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        WebhookSink(WebhookSettings(url=http.url, secret_file=secret_file(text)))
    assert "openssl" in str(refused.value) or "empty" in str(refused.value)
    assert not text or text == "whsec_" or text == "secret" or text not in str(refused.value)


def test_pauses_double_up_to_a_minute() -> None:
    for failures, longest in ((1, 1), (2, 2), (5, 16), (7, 60), (1000, 60)):
        assert longest / 2 <= backoff(failures) <= longest
