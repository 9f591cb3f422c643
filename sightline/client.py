"""The REST API in plain Python, for scripts and other systems.

    from sightline.client import Client

    with Client("http://127.0.0.1:8765", key) as sightline:
        for inspection in sightline.inspections(verdict="defect", camera="cam-1", limit=100):
            print(inspection["captured_at"], inspection["score"])
        found = sightline.inspect(Path("part.jpg").read_bytes(), "bottle_cap")
        print(found["verdict"], found["regions"])

Needs httpx2 (`pip install sightline[api]`). Answers are the JSON of docs/api.md, as dictionaries.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from sightline.codec import decode
from sightline.contracts import ActionKind, Alert, AlertState, Severity
from sightline.errors import ApiError

if TYPE_CHECKING:
    from httpx2 import Client as Http
    from httpx2 import Response

_TRIES = 4
_LONGEST_WAIT = 10.0
_PASSING = frozenset({429, 503})
_PAGE = 200
_STATES = frozenset(AlertState)


class Client:
    """One deployment, asked with one key; every method raises ApiError.

    What may be sent twice without harm is tried again while the API is away or busy, for some seconds.
    """

    def __init__(self, url: str, key: str, *, timeout: float = 30.0, http: Http | None = None) -> None:
        """`http` is a client to send with; this one is given the key, and left open by `close`."""
        import httpx2

        self._own = http is None
        self._http = http or httpx2.Client(base_url=url, timeout=timeout)
        self._auth = {"Authorization": f"Bearer {key}"}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        if self._own:
            self._http.close()

    def cameras(self) -> list[dict[str, Any]]:
        """Every camera that was heard of."""
        return list(self._json("GET", "/v1/cameras")["items"])

    def inspections(self, *, limit: int | None = None, **filters: Any) -> Iterator[dict[str, Any]]:
        """Inspected frames, the newest first, page after page as they are asked for; at most `limit`.

        Filters: line, camera, product, verdict, defect_type, detector_version, since, until (aware datetimes),
        score_min, score_max.
        """
        return islice(self._pages("/v1/inspections", filters), limit)

    def inspection(self, summary: dict[str, Any]) -> dict[str, Any]:
        """All of an inspection that `inspections` told of: boxes, heat map and thumbnail."""
        return self._json("GET", str(summary["href"]))

    def trace(self, summary: dict[str, Any]) -> dict[str, Any]:
        """The way of an inspection's part: when each step was done, its alert, what operators said."""
        return self._json("GET", str(summary["href"]).replace("?", "/trace?"))

    def chart(self, name: str, **filters: Any) -> dict[str, Any]:
        """The figures of a chart, such as `defect-rate`, `fractions` or `thresholds`; filters as in the document."""
        asked = {key: _text(value) for key, value in filters.items() if value is not None}
        return self._json("GET", f"/v1/charts/{name}", params=asked)

    def export(self, file: Path, **filters: Any) -> int:
        """Write the inspections that fit to `file`, as its ending says (`.csv` or `.parquet`); returns bytes written.

        The filters are those of `inspections`. What was at `file` before stays until the new one is whole.
        """
        import httpx2

        asked = {key: _text(value) for key, value in filters.items() if value is not None}
        asked["format"] = file.suffix.removeprefix(".")
        unfinished = file.with_name(f".{file.name}.{uuid4().hex}")
        try:
            with self._http.stream("GET", "/v1/exports/inspections", params=asked, headers=self._auth) as answer:
                if answer.is_error:
                    answer.read()
                    raise _refused(answer)
                with unfinished.open("wb") as out:
                    written = sum(out.write(chunk) for chunk in answer.iter_bytes())
            unfinished.replace(file)
            return written
        except httpx2.TransportError as error:
            raise ApiError(None, "unreachable", f"the export broke off: {error!r}; try again") from error
        finally:
            unfinished.unlink(missing_ok=True)

    def alerts(self, *, limit: int | None = None, **filters: Any) -> Iterator[dict[str, Any]]:
        """Incidents, the newest first. Filters: state, severity, line, camera, product, since, until."""
        return islice(self._pages("/v1/alerts", filters), limit)

    def alert(self, alert_id: str) -> dict[str, Any]:
        """One incident with everything that operators said of it."""
        return self._json("GET", f"/v1/alerts/{alert_id}")

    def act(
        self,
        alert_id: str,
        kind: ActionKind,
        *,
        defect_type: str | None = None,
        comment: str | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Acknowledge, confirm, call a false alarm or comment; recorded once, however often it had to be sent."""
        said = {"kind": kind, "defect_type": defect_type, "comment": comment}
        return self._json(
            "POST",
            f"/v1/alerts/{alert_id}/actions",
            json={name: value for name, value in said.items() if value is not None},
            headers={"Idempotency-Key": idempotency_key or uuid4().hex},
        )

    def mutes(self) -> list[dict[str, Any]]:
        """Mutes and maintenance windows that have not ended."""
        return list(self._json("GET", "/v1/mutes")["items"])

    def mute(
        self,
        minutes: int,
        *,
        line: str | None = None,
        camera: str | None = None,
        product: str | None = None,
        severity: Severity | None = None,
        comment: str | None = None,
    ) -> dict[str, Any]:
        """Hold back the alerts of a line or a camera from those outside, from now on, for at most 480 minutes."""
        scope = {"line": line, "camera": camera, "product": product, "severity": severity, "comment": comment}
        return self._json(
            "POST",
            "/v1/mutes",
            json={"minutes": minutes} | {name: value for name, value in scope.items() if value is not None},
            headers={"Idempotency-Key": uuid4().hex},
        )

    def end_mute(self, mute_id: str) -> dict[str, Any]:
        """End a mute before its time."""
        return self._json("DELETE", f"/v1/mutes/{mute_id}")

    def alert_stream(self) -> Iterator[Alert]:
        """The incidents that are open, then every change, until the API ends the stream or goes away."""
        import httpx2

        timeout = httpx2.Timeout(30.0, read=60.0)  # a comment comes every 15 seconds
        try:
            with self._http.stream("GET", "/v1/alerts/stream", headers=self._auth, timeout=timeout) as answer:
                if answer.is_error:
                    answer.read()
                    raise _refused(answer)
                event = ""
                for line in answer.iter_lines():
                    field, _, value = line.partition(":")
                    if field == "event":
                        event = value.strip()
                    elif field == "data" and event in _STATES:
                        yield decode(Alert, value.strip().encode())
        except httpx2.TransportError as error:
            raise ApiError(None, "unreachable", f"the stream of alerts was cut off: {error!r}; begin anew") from error

    def detectors(self, product: str | None = None) -> list[dict[str, Any]]:
        """Every registered version, of one product where it is given."""
        return list(self._json("GET", "/v1/detectors", params={"product": product} if product else None)["items"])

    def promote(self, product: str, version: str) -> dict[str, Any]:
        """Make a version the champion of its product."""
        return self._json("POST", f"/v1/detectors/{product}/promote", json={"version": version})

    def roll_back(self, product: str) -> dict[str, Any]:
        """Make the former champion champion again; never sent twice, since that would go back two."""
        return self._json("POST", f"/v1/detectors/{product}/rollback", tries=1)

    def inspect(self, jpeg: bytes, product: str, version: str = "champion") -> dict[str, Any]:
        """The verdict on a picture, with score, boxes and heat map."""
        return self._json(
            "POST",
            "/v1/inspect",
            params={"product": product, "version": version},
            content=jpeg,
            headers={"Content-Type": "image/jpeg"},
        )

    def _pages(self, path: str, filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
        asked = {key: _text(value) for key, value in filters.items() if value is not None}
        cursor = None
        while True:
            page = self._json("GET", path, params={"limit": _PAGE, **asked, **({"cursor": cursor} if cursor else {})})
            yield from page["items"]
            if (cursor := page["next"]) is None:
                return

    def _json(self, method: str, path: str, *, tries: int = _TRIES, **request: Any) -> dict[str, Any]:
        import httpx2

        request["headers"] = self._auth | request.get("headers", {})
        for left in reversed(range(tries)):
            try:
                answer = self._http.request(method, path, **request)
            except httpx2.TransportError as error:
                if not left:
                    raise ApiError(None, "unreachable", f"{self._http.base_url} does not answer: {error!r}") from error
                time.sleep(1.0)
                continue
            if answer.status_code in _PASSING and left:
                time.sleep(min(float(answer.headers.get("Retry-After", 1)), _LONGEST_WAIT))
                continue
            if answer.is_error:
                raise _refused(answer)
            found: dict[str, Any] = answer.json()
            return found
        raise AssertionError("the last try returns or raises")


def _refused(answer: Response) -> ApiError:
    try:
        problem = answer.json()
        return ApiError(answer.status_code, str(problem["type"]).rpartition(":")[2], str(problem["detail"]))
    except (ValueError, KeyError, TypeError):
        return ApiError(answer.status_code, "no-problem", f"HTTP {answer.status_code}: {answer.text[:200]!r}")


def _text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value
