"""Inspections, cameras and tables: what is found, page by page, and what is said when it cannot be."""

from __future__ import annotations

import base64
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from console.api import histories
from console.api.roles import Role
from sightline import samples
from sightline.client import Client
from sightline.contracts import Verdict
from sightline.errors import ApiError

DEFECT = samples.inspection(sequence=1)


@pytest.fixture
def viewer(deployment):
    return deployment.client(Role.VIEWER)


def sequences(answer) -> list[tuple[str, int]]:
    return [(row["camera"], row["sequence"]) for row in answer.json()["items"]]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, [("cam-2", 1_000_000), ("cam-1", 2), ("cam-1", 1), ("cam-1", 0)]),
        ({"camera": "cam-1"}, [("cam-1", 2), ("cam-1", 1), ("cam-1", 0)]),
        ({"verdict": "defect"}, [("cam-1", 1)]),
        ({"score_min": 0.5}, [("cam-1", 1)]),
        ({"score_max": 0.5, "camera": "cam-1"}, [("cam-1", 2), ("cam-1", 0)]),
        ({"since": "2026-03-02T06:30:00.1Z", "until": "2026-03-02T07:30:00.2+01:00"}, [("cam-1", 1)]),
        ({"since": "2026-03-03T00:00:00Z"}, [("cam-2", 1_000_000)]),
        ({"until": "2026-03-02T06:30:00Z"}, []),
        ({"line": "line-a", "product": "bottle_cap", "detector_version": "3", "limit": 1}, [("cam-2", 1_000_000)]),
        ({"detector_version": "4"}, []),
        ({"camera": "' OR true --"}, []),
    ],
)
def test_filters_find_what_they_say(viewer, filters, found) -> None:
    assert sequences(viewer.get("/v1/inspections", params=filters)) == found


def test_pages_hold_every_row_once_even_while_rows_are_added(history, deploy) -> None:
    # twelve of one instant, and some long before, so that neither ties nor gaps lose one
    tied = [replace(samples.inspection(f"cam-{n}"), captured_at=samples.START) for n in range(12)]
    tied = [replace(one, inspection_id=samples.digest_id("tied", n)) for n, one in enumerate(tied)]
    old = [samples.inspection("old", -900_000 * n) for n in (1, 2, 40)]
    history.write(*tied, *old)
    viewer = deploy().client(Role.VIEWER)
    seen, cursor = [], None
    while True:
        page = viewer.get("/v1/inspections", params={"limit": 4} | ({"cursor": cursor} if cursor else {})).json()
        seen += page["items"]
        if (cursor := page["next"]) is None:
            break
        history.write(samples.inspection("new", 10 + len(seen)))
    assert [row["camera"] for row in seen[-3:]] == ["old"] * 3
    assert {row["inspection_id"] for row in seen} == {one.inspection_id for one in (*tied, *old)}
    assert len(seen) == 15
    times = [row["captured_at"] for row in seen]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"limit": 0}, 422),
        ({"limit": 501}, 422),
        ({"since": "yesterday"}, 422),
        ({"since": "2026-03-02T06:30:00"}, 422),
        ({"until": "0001-01-01T00:00:00+14:00"}, 422),
        ({"score_min": "nan"}, 422),
        ({"verdict": "bad"}, 422),
        ({"camera": ["cam-1", "cam-2"]}, 422),
        ({"cursor": "!!"}, 400),
        ({"cursor": "AAAA"}, 400),
    ],
)
def test_bad_questions_are_answered_with_what_is_wrong(viewer, wrong, status) -> None:
    answer = viewer.get("/v1/inspections", params=wrong)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert next(iter(wrong)) in answer.json()["detail"]


def test_a_cursor_of_other_filters_is_refused(viewer) -> None:
    cursor = viewer.get("/v1/inspections", params={"limit": 1}).json()["next"]
    assert viewer.get("/v1/inspections", params={"limit": 3, "cursor": cursor}).status_code == 200
    refused = viewer.get("/v1/inspections", params={"camera": "cam-1", "cursor": cursor})
    assert (refused.status_code, refused.json()["type"]) == (400, "urn:sightline:problem:cursor")


def test_one_inspection_comes_whole(viewer) -> None:
    href = viewer.get("/v1/inspections?verdict=defect").json()["items"][0]["href"]
    found = viewer.get(href).json()
    assert found["inspection_id"] == DEFECT.inspection_id
    assert base64.b64decode(found["heat_map"]["values"]) == DEFECT.heat_map.values
    assert base64.b64decode(found["thumbnail"]) == samples.JPEG
    assert (found["regions"][0]["width"], found["quality"]["blur"]) == (54, 412.0)
    assert viewer.get(href.replace("?", "/thumbnail?")).content == samples.JPEG
    assert viewer.get(href.replace("?", "/frame?")).headers["content-type"] == "image/jpeg"


def test_what_is_not_there_is_said_to_be_missing(viewer) -> None:
    for path in ("inspections/" + "0" * 32, "alerts/" + "0" * 32, "tables/none", "detectors/gasket/1"):
        answer = viewer.get(f"/v1/{path}")
        assert (answer.status_code, answer.json()["status"]) == (404, 404), path
    ok = samples.inspection(sequence=0).inspection_id
    assert "defects have one" in viewer.get(f"/v1/inspections/{ok}/thumbnail").json()["detail"]


def test_cameras_are_told_with_what_their_last_day_brought(viewer) -> None:
    first, second = viewer.get("/v1/cameras").json()["items"]
    assert (first["camera"], first["inspected"], first["last_event"]) == ("cam-1", 0, "dropped")
    assert (second["camera"], second["inspected"], second["last_event"]) == ("cam-2", 1, None)
    assert second["last_frame_at"] == "2026-03-03T10:16:40Z"


def counted(viewer) -> dict[str, tuple[int, int]]:
    return {row["camera"]: (row["inspected"], row["defects"]) for row in viewer.get("/v1/cameras").json()["items"]}


def test_one_frame_of_another_century_empties_neither_the_cameras_nor_the_charts(history, deploy) -> None:
    defect = samples.inspection(sequence=1, score=0.9, verdict=Verdict.DEFECT)
    odd = replace(samples.inspection("cam-2", 7), captured_at=samples.START + timedelta(days=73 * 365))
    history.write(samples.inspection(), defect, samples.inspection("cam-2", 6), odd)
    viewer = deploy().client(Role.ENGINEER)
    assert counted(viewer) == {"cam-1": (2, 1), "cam-2": (1, 0)}
    assert viewer.get("/v1/cameras").json()["items"][1]["last_frame_at"] == "2026-03-02T06:30:00.600000Z"
    rate = viewer.get("/v1/charts/defect-rate").json()
    assert sum(point["inspected"] for point in rate["points"]) == 3
    # nothing is hidden that was asked for
    assert sequences(viewer.get("/v1/inspections", params={"limit": 1})) == [("cam-2", 7)]


def test_a_host_whose_own_clock_is_behind_still_shows_what_there_is(history, deploy, monkeypatch) -> None:
    history.write(samples.inspection(), samples.inspection(sequence=1))
    monkeypatch.setattr(histories, "AHEAD", -timedelta(days=36500))
    assert counted(deploy().client(Role.VIEWER)) == {"cam-1": (2, 0)}


def test_a_line_that_stood_still_since_yesterday_is_told_with_its_own_last_day(history, deploy) -> None:
    day = timedelta(days=1)
    other = [replace(samples.inspection("cam-2", n), line="line-b") for n in (0, 1)]
    ago = replace(samples.inspection("cam-3", 0), line="line-c", captured_at=samples.START - 40 * day)
    history.write(
        replace(samples.inspection(), captured_at=samples.START + 3 * day),
        samples.inspection(sequence=1),
        *other,
        ago,
    )
    assert counted(deploy().client(Role.VIEWER)) == {"cam-1": (1, 0), "cam-2": (2, 0)}


def test_tables_and_columns_are_listed(viewer) -> None:
    rows = {table["name"]: table["rows"] for table in viewer.get("/v1/tables").json()["items"]}
    assert (rows["inspections"], rows["alerts"], rows["operator_actions"]) == (4, 1, 0)
    columns = {column["path"]: column["type"] for column in viewer.get("/v1/tables/inspections").json()["columns"]}
    assert (columns["heat_map.values"], columns["regions[].peak"]) == ("binary", "double")


def test_tables_that_are_missing_or_removed_are_a_503_and_come_back(history, deploy) -> None:
    deployment = deploy()
    viewer = deployment.client(Role.VIEWER)
    missing = viewer.get("/v1/inspections")
    assert (missing.status_code, missing.headers["retry-after"]) == (503, "5")
    assert "sightline history" in missing.json()["detail"]
    assert viewer.get("/v1/health/ready").status_code == 503
    history.write(samples.inspection())
    assert len(viewer.get("/v1/inspections").json()["items"]) == 1
    assert viewer.get("/v1/alerts").status_code == 503
    shutil.rmtree(Path(history.settings.root) / "inspections" / "day=2026-03-02")
    assert viewer.get("/v1/inspections").status_code == 503


def test_the_client_walks_pages_and_turns_problems_into_errors(deployment) -> None:
    client = Client("", deployment.key(Role.VIEWER)["Authorization"].split()[1], http=deployment.client())
    assert [row["sequence"] for row in client.inspections(camera="cam-1", since=samples.START)] == [2, 1, 0]
    assert len(list(client.inspections(limit=2))) == 2
    found = client.inspection(next(client.inspections(verdict=Verdict.DEFECT)))
    assert found["detector"]["version"] == "3"
    with pytest.raises(ApiError, match="engineer") as refused:
        client.promote("washer", "2")
    assert (refused.value.status, refused.value.slug) == (403, "role")
    with pytest.raises(ApiError, match="year"):
        next(client.inspections(since=samples.START - timedelta(days=365 * 100)))
