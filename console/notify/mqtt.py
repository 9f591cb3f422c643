"""Alerts to an MQTT broker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from console.notify.settings import MqttSettings, read_secret
from console.notify.sink import Overtaken, envelope, never, tls_context, without_picture
from sightline.contracts import Alert
from sightline.errors import DeliveryError

log = logging.getLogger(__name__)

ONLINE, OFFLINE = b"online", b"offline"

_QOS = 1
_KEEPALIVE_SECONDS = 30
_LONGEST_PAUSE = 30
_FIRST_CONNECT_SECONDS = 3.0


class MqttSink:
    """One broker, MQTT 3.1.1, connected as long as the process lives.

    Publishes under the configured topic: `LINE/CAMERA/alert`, each alert with its type and time around it;
    `LINE/CAMERA/state`, the newest one, kept by the broker for who subscribes later; and `status`, kept too: `online`,
    and `offline` by last will once this process or its network is gone. Characters that a topic gives a meaning are
    percent-encoded in names.

    Delivery: at least once, QoS 1: it counts as told once the broker has acknowledged both messages. An alert that
    comes late, after one of a later incident of its camera, stands at `alert` alone. The outbox knows which is later,
    also after a restart; with a new outbox that is forgotten, and an alert that the outbox lost changes no `state`.
    """

    most = 1
    rest_seconds = 0.0

    def __init__(self, name: str, settings: MqttSettings, overtaken: Overtaken = never) -> None:
        """Raises SettingsError when password or certificates cannot be read."""
        self._name = name
        self._overtaken = overtaken
        # paho queues and repeats by itself what was not acknowledged in time
        self.seconds = 2 * settings.timeout_seconds + 1
        self._settings = settings
        self._port = settings.port or (8883 if settings.tls else 1883)
        self._why = "no connection yet"
        client = Client(CallbackAPIVersion.VERSION2, client_id=settings.client_id or f"sightline-{name}")
        if settings.username:
            password = read_secret(settings.password_file, "the password") if settings.password_file else None
            client.username_pw_set(settings.username, password)
        if settings.tls:
            client.tls_set_context(tls_context(settings.ca_file))
        client.will_set(self._topic("status"), OFFLINE, _QOS, retain=True)
        client.reconnect_delay_set(1, _LONGEST_PAUSE)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_connect_fail = self._unreachable
        self._client = client

    async def open(self) -> None:
        self._client.connect_async(self._settings.host, self._port, _KEEPALIVE_SECONDS)
        self._client.loop_start()

    async def send(self, alerts: Sequence[Alert]) -> None:
        (alert,) = alerts
        await self._connection()
        body = envelope(alert if self._settings.pictures else without_picture(alert))
        place = f"{quote(alert.line, safe='')}/{quote(alert.camera, safe='')}"
        await self._publish(f"{place}/alert", body, retain=False)
        if not self._overtaken(self._name, alert):
            await self._publish(f"{place}/state", _state(alert), retain=self._settings.retain)

    async def close(self) -> None:
        if self._client.is_connected():
            # a farewell: the broker publishes the last will only where nothing was said
            await self._publish("status", OFFLINE, retain=True)
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    async def _connection(self) -> None:
        ends = asyncio.get_running_loop().time() + _FIRST_CONNECT_SECONDS
        while not self._client.is_connected():
            # paho would keep it in memory, and deliver it once more beside the outbox
            if asyncio.get_running_loop().time() > ends:
                raise DeliveryError(f"no connection to {self._settings.host}:{self._port}: {self._why}")
            await asyncio.sleep(0.05)

    async def _publish(self, topic: str, body: bytes, *, retain: bool) -> None:
        info = self._client.publish(self._topic(topic), body, _QOS, retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise DeliveryError(f"the broker at {self._settings.host} is gone: {self._why}")
        try:
            await asyncio.to_thread(info.wait_for_publish, self._settings.timeout_seconds)
        except (RuntimeError, ValueError) as error:
            raise DeliveryError(f"the broker at {self._settings.host} is gone: {error}") from error
        if not info.is_published():
            raise DeliveryError(
                f"the broker at {self._settings.host} did not acknowledge within {self._settings.timeout_seconds:g} s"
            )

    def _topic(self, rest: str) -> str:
        return f"{self._settings.topic}/{rest}"

    def _connected(self, client: Client, _: Any, __: Any, reason: Any, ___: Any) -> None:
        if reason.is_failure:
            self._why = str(reason)
            log.warning("the MQTT broker refuses", extra={"host": self._settings.host, "error": self._why})
            return
        client.publish(self._topic("status"), ONLINE, _QOS, retain=True)

    def _disconnected(self, _: Client, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        self._why = f"disconnected: {reason}"

    def _unreachable(self, _: Client, __: Any) -> None:
        self._why = "nothing answers there"


def _state(alert: Alert) -> bytes:
    """The newest of a camera in few bytes, for a lamp or a dashboard."""
    return msgspec.json.encode(
        {
            "state": alert.state.value,
            "severity": alert.severity.value,
            "alert_id": alert.alert_id,
            "revision": alert.revision,
            "product": alert.product,
            "opened_at": alert.opened_at,
            "updated_at": alert.updated_at,
            "count": alert.count,
        }
    )
