"""Alerts out: webhooks, MQTT, mail and reject signals, apart from the stream."""
