"""From settings to the receivers of alerts."""

from __future__ import annotations

from console.notify.mail import MailSink
from console.notify.mqtt import MqttSink
from console.notify.settings import NotifySettings
from console.notify.sink import Overtaken, Sink, never
from console.notify.webhook import WebhookSink


def open_sinks(settings: NotifySettings, overtaken: Overtaken = never) -> dict[str, Sink]:
    """Name to sink, for all that alerts may wait for; raises SettingsError where a secret cannot be read."""
    sinks: dict[str, Sink] = {}
    sinks |= {name: WebhookSink(one) for name, one in settings.webhook.items()}
    sinks |= {name: MqttSink(name, one, overtaken) for name, one in settings.mqtt.items()}
    sinks |= {name: MailSink(one) for name, one in settings.mail.items()}
    return sinks
