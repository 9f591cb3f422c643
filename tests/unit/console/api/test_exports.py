"""Exports: what a file holds, what a spreadsheet must not run, and where they end."""

from __future__ import annotations

import asyncio
import csv
import io
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from console.api.roles import Role
from console.engineering import exports
from console.engineering.exports import Format
from sightline import samples
from sightline.client import Client
from sightline.errors import ApiError


@pytest.fixture
def engineer(deployment):
    return deployment.client(Role.ENGINEER)


def rows(answer) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_csv_and_parquet_hold_the_same_rows(engineer) -> None:
    text = engineer.get("/v1/exports/inspections", params={"camera": "cam-1"})
    assert text.headers["content-type"] == "text/csv; charset=utf-8"
    assert text.headers["content-disposition"] == 'attachment; filename="inspections-cam-1.csv"'
    found = {row["sequence"]: row for row in rows(text)}
    assert found.keys() == {"0", "1", "2"}
    assert found["1"]["captured_at"] == "2026-03-02T06:30:00.100000Z"
    assert (found["1"]["verdict"], found["1"]["label"], found["1"]["regions"]) == ("defect", "scratch", "1")
    binary = engineer.get("/v1/exports/inspections", params={"camera": "cam-1", "format": "parquet"})
    table = pq.read_table(io.BytesIO(binary.content))
    assert {str(row["sequence"]): row["score"] for row in table.to_pylist()} == {
        sequence: float(row["score"]) for sequence, row in found.items()
    }
    assert str(table.schema.field("captured_at").type) == "timestamp[us, tz=UTC]"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", '=HYPERLINK("http://x","y")'])
def test_text_that_a_spreadsheet_would_run_is_quoted(history, deploy, text) -> None:
    history.write(replace(samples.inspection(), label=text))
    found = rows(deploy().client(Role.ENGINEER).get("/v1/exports/inspections"))
    assert found[0]["label"] == "'" + text


def test_more_rows_than_a_file_takes_are_refused_with_a_way_out(engineer, monkeypatch) -> None:
    monkeypatch.setattr(exports, "MOST_ROWS", {Format.CSV: 2, Format.PARQUET: 3})
    refused = engineer.get("/v1/exports/inspections", params={"camera": "cam-1"})
    assert (refused.status_code, refused.json()["rows"]) == (422, 3)
    assert "choose Parquet, which takes up to 3" in refused.json()["detail"]
    assert engineer.get("/v1/exports/inspections", params={"camera": "cam-1", "format": "parquet"}).status_code == 200
    both = engineer.get("/v1/exports/inspections", params={"format": "parquet"}).json()
    assert "4 inspections fit" in both["detail"]
    assert "more filters" in both["detail"]


def test_a_second_export_waits_its_turn_and_an_ended_one_makes_room(deployment, monkeypatch) -> None:
    monkeypatch.setattr(exports, "_WAIT_SECONDS", 0.01)
    first = deployment.services.exports.begin(exports.Selection(), Format.CSV)
    engineer = deployment.client(Role.ENGINEER)
    busy = engineer.get("/v1/exports/inspections")
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "30")
    next(first.chunks)
    first.close()  # as when a browser goes away
    assert engineer.get("/v1/exports/inspections").status_code == 200


def test_a_client_that_leaves_before_the_first_byte_makes_room(deployment, monkeypatch) -> None:
    monkeypatch.setattr(exports, "_WAIT_SECONDS", 0.01)
    headers = [(name.lower().encode(), value.encode()) for name, value in deployment.key(Role.ENGINEER).items()]
    path = "/v1/exports/inspections"
    scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET"}
    scope |= {"path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": headers}
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])
    told = []

    async def receive() -> dict:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: dict) -> None:
        told.append(message["type"])

    asyncio.run(deployment.app(scope | {"scheme": "http", "client": ("127.0.0.1", 1), "server": None}, receive, send))
    assert "http.response.body" not in told
    assert deployment.client(Role.ENGINEER).get(path).status_code == 200


def test_an_export_that_cannot_be_noted_is_refused_and_makes_room(deployment, monkeypatch) -> None:
    monkeypatch.setattr(exports, "_WAIT_SECONDS", 0.01)
    engineer = deployment.client(Role.ENGINEER, raise_server_exceptions=False)
    audit = deployment.services.audit
    written = audit.path
    audit.path = deployment.services.settings.folder  # a folder takes no lines
    assert engineer.get("/v1/exports/inspections").status_code >= 500
    audit.path = written
    assert engineer.get("/v1/exports/inspections").status_code == 200


def test_a_mistyped_camera_is_no_empty_file(engineer) -> None:
    assert engineer.get("/v1/exports/inspections", params={"camera": "cam-9"}).status_code == 404
    assert engineer.get("/v1/exports/inspections", params={"verdict": "review"}).text.count("\n") == 1


def test_the_client_writes_a_file_or_says_why_not(deployment, tmp_path) -> None:
    key = deployment.key(Role.ENGINEER)["Authorization"].split()[1]
    client = Client("", key, http=deployment.client())
    target = tmp_path / "cam-1.parquet"
    assert client.export(target, camera="cam-1") == target.stat().st_size
    assert pq.read_table(target).num_rows == 3
    with pytest.raises(ApiError, match="no camera 'cam-9'"):
        client.export(tmp_path / "none.csv", camera="cam-9")
    assert not (tmp_path / "none.csv").exists()
    assert client.chart("defect-rate", camera="cam-1", since=samples.START)["points"][0]["inspected"] == 3
    assert client.trace(next(client.inspections(verdict="defect")))["archived"]
