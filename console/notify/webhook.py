"""Alerts by POST, signed as Standard Webhooks says (https://www.standardwebhooks.com)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx2
from standardwebhooks import Webhook

from console.notify.settings import WebhookSettings, read_secret
from console.notify.sink import envelope, message_id, tls_context, without_picture
from sightline import __version__
from sightline.contracts import Alert
from sightline.errors import DeliveryError, SettingsError

_FINAL = frozenset({400, 405, 406, 410, 411, 413, 414, 415, 422, 431, 451})
"""Answers that say that this very request will never be taken; whatever else fails may be put right meanwhile."""
_LONGEST_WAIT = 3600.0
_SECRET = re.compile(r"whsec_(?:[A-Za-z0-9+/]{4}){8,}(?:[A-Za-z0-9+/]{2,3}={0,2})?")


class WebhookSink:
    """One address.

    Delivery: at least once. A repeat has the same `webhook-id` and `Idempotency-Key`, `ALERT_ID.REVISION`, and a
    signature of its own time. The receiver has it once it answers 2xx. A redirect is refused: what is configured is
    where alerts go, and nowhere else; proxies of the environment are not asked, and the body of an answer is not read.
    """

    most = 1
    rest_seconds = 0.0

    def __init__(self, settings: WebhookSettings) -> None:
        """Raises SettingsError when secret or certificates cannot be read."""
        self.seconds = settings.timeout_seconds
        self._settings = settings
        self._host = urlsplit(settings.url).netloc
        secret = read_secret(settings.secret_file, "the signing secret")
        if not _SECRET.fullmatch(secret):
            raise SettingsError(
                f"{str(settings.secret_file)!r} holds no secret of Standard Webhooks: `whsec_` and base64 of 24 bytes "
                'or more; make one with: echo "whsec_$(openssl rand -base64 24)"'
            )
        self._signer = Webhook(secret)
        # loading the system's certificates takes a while
        self._tls = tls_context(settings.ca_file) if settings.url.startswith("https:") else False
        self._client: httpx2.AsyncClient | None = None

    async def open(self) -> None:
        self._client = httpx2.AsyncClient(
            verify=self._tls,
            follow_redirects=False,
            trust_env=False,
            timeout=self.seconds,
            limits=httpx2.Limits(max_connections=1),
            headers={"User-Agent": f"sightline/{__version__}"},
        )

    async def send(self, alerts: Sequence[Alert]) -> None:
        (alert,) = alerts
        assert self._client is not None, "open() comes first"
        body = envelope(alert if self._settings.pictures else without_picture(alert))
        try:
            async with self._client.stream(
                "POST", self._settings.url, content=body, headers=self._headers(alert, body)
            ) as answer:
                status, retry_after = answer.status_code, answer.headers.get("retry-after", "")
        except (httpx2.HTTPError, OSError) as error:
            raise DeliveryError(f"{self._host} cannot be reached: {error!r}") from error
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return
        if status < HTTPStatus.BAD_REQUEST:
            raise DeliveryError(
                f"{self._host} answers {status}, a redirect, which is not followed; configure the final address"
            )
        wait = min(float(retry_after), _LONGEST_WAIT) if retry_after.isdecimal() else None
        raise DeliveryError(f"{self._host} answers {status}", final=status in _FINAL, wait=wait)

    async def close(self) -> None:
        if self._client:
            await self._client.aclose()

    def _headers(self, alert: Alert, body: bytes) -> dict[str, str]:
        identity, now = message_id(alert), datetime.now(UTC)
        return {
            "content-type": "application/json",
            "webhook-id": identity,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(identity, now, body.decode()),
            "idempotency-key": identity,
        }
