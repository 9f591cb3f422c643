"""Pictures in, verdicts out; batches change nothing; detectors that come and go."""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from console.api import batching
from console.api.batching import Batcher
from console.api.problems import Problem
from console.api.roles import Role
from models.doubles import write_brightness_bundle
from models.runtime.scorer import load_scorer
from models.runtime.scores import Scores
from sightline.errors import DetectorError


@pytest.fixture
def send(deployment, jpeg):
    client = deployment.client(Role.OPERATOR)

    def post(content=None, **params):
        return client.post(
            "/v1/inspect",
            params={"product": "washer"} | params,
            content=jpeg(120) if content is None else content,
            headers={"content-type": "image/jpeg"},
        )

    return post


def test_a_picture_is_judged_by_the_champion_or_by_a_named_version(send, jpeg) -> None:
    # the detector's score is the brightness: 200 is a defect for version 1, 100 for version 2
    one, two = send(jpeg(120)).json(), send(jpeg(120), version="2").json()
    assert (one["verdict"], one["detector"]["version"], one["threshold"]) == ("ok", "1", 200.0)
    assert (two["verdict"], two["detector"]["version"], two["threshold"]) == ("defect", "2", 100.0)
    assert one["score"] == two["score"] == pytest.approx(120, abs=1)
    assert (one["width"], one["height"], one["regions"], one["thumbnail"]) == (128, 96, [], None)
    # the whole picture is too bright: one box over all of it
    assert [(box["x"], box["y"], box["width"], box["height"]) for box in two["regions"]] == [(0, 0, 128, 96)]
    heat = base64.b64decode(two["heat_map"]["values"])
    assert len(heat) == two["heat_map"]["rows"] * two["heat_map"]["cols"]
    assert set(heat) == {120}
    assert base64.b64decode(two["thumbnail"]).startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n" + b"0" * 50, "not-jpeg"),
        (b"\xff\xd8\xff" + b"0" * 50, "truncated"),
    ],
)
def test_a_bad_picture_is_refused_with_its_reason(send, content, reason) -> None:
    answer = send(content)
    assert (answer.status_code, answer.json()["reason"]) == (422, reason)
    assert answer.json()["type"] == "urn:sightline:problem:bad-picture"


def test_half_a_picture_and_a_picture_beyond_the_limit_are_refused(deploy, jpeg) -> None:
    client = deploy(max_image_bytes=1024).client(Role.OPERATOR)

    def status(content: bytes, kind: str = "image/jpeg") -> int:
        return client.post("/v1/inspect?product=washer", content=content, headers={"content-type": kind}).status_code

    assert status(jpeg(90)[:300]) == 422
    assert status(jpeg(90) + b"\0" * 1024) == 413
    assert status(b"0" * (11 * 1024 * 1024)) == 413
    assert status(jpeg(90), "text/plain") == 415
    assert status(jpeg(90), "image/jpeg; charset=binary") == 200


def test_unknown_products_and_versions_are_named(send) -> None:
    assert "known: washer" in send(product="gasket").json()["detail"]
    assert "known: 2, 1" in send(version="7").json()["detail"]
    assert send(product="gasket").status_code == send(version="7").status_code == 404
    assert send(version="../1").status_code == 422


def test_a_promoted_version_judges_the_next_picture_and_rolls_back(deployment, send) -> None:
    engineer = deployment.client(Role.ENGINEER)
    assert send().json()["verdict"] == "ok"
    assert engineer.post("/v1/detectors/washer/promote", json={"version": "2"}).json()["version"] == "2"
    assert send().json()["verdict"] == "defect"
    assert engineer.post("/v1/detectors/washer/rollback").json()["version"] == "1"
    assert send().json()["verdict"] == "ok"
    none = engineer.post("/v1/detectors/washer/rollback")
    assert (none.status_code, none.json()["type"]) == (409, "urn:sightline:problem:no-former-champion")
    assert engineer.post("/v1/detectors/washer/promote", json={"version": "9"}).status_code == 404
    assert engineer.post("/v1/detectors/gasket/rollback").status_code == 404
    assert deployment.registry.champions == ["1"]


def test_without_a_registry_the_known_champion_goes_on_and_changes_are_refused(deployment, send) -> None:
    assert send().status_code == 200
    deployment.registry.away = True
    deployment.services.catalogue._asked = -1e9
    assert send().json()["detector"]["version"] == "1"
    refused = deployment.client(Role.ENGINEER).post("/v1/detectors/washer/promote", json={"version": "2"})
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:sightline:problem:registry-unavailable")


def test_the_registry_is_not_asked_for_every_picture(deployment, send) -> None:
    for _ in range(5):
        send()
    assert deployment.registry.asked == 1


def test_a_version_comes_with_its_card(deployment) -> None:
    viewer = deployment.client(Role.VIEWER)
    aliases = {item["version"]: item["aliases"] for item in viewer.get("/v1/detectors").json()["items"]}
    assert aliases == {"2": [], "1": ["champion"]}
    assert viewer.get("/v1/detectors/washer/2").json()["card"]["threshold"] == 100.0


def test_many_at_once_get_what_each_gets_alone(tmp_path) -> None:
    write_brightness_bundle(tmp_path)
    scorer = load_scorer(tmp_path)
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (40, 64, 64, 3), np.uint8)
    alone = [scorer.score(image[None]) for image in images]
    batcher = Batcher(scorer, "test")
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda image: batcher.submit(image).result(60), images))
    batcher.close()
    for found, expected in zip(together, alone, strict=True):
        assert found.score == pytest.approx(float(expected.scores[0]), rel=1e-6)
        np.testing.assert_allclose(found.anomaly_map, expected.maps[0], rtol=1e-6)


class Held:
    """A scorer that waits for `go`, notes its batches and fails on black pictures."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Event()
        self.batches: list[int] = []

    def score(self, images):
        self.begun.set()
        assert self.go.wait(60)
        self.batches.append(len(images))
        if not images.reshape(len(images), -1).any(axis=1).all():
            raise DetectorError("a black picture")
        return Scores(np.zeros((len(images), 1, 1), np.float32), images[:, 0, 0, 0].astype(np.float32))


def test_what_waits_is_one_batch_and_one_bad_picture_costs_its_mates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MOST", 4)
    held = Held()
    batcher = Batcher(held, "test")
    pictures = [np.full((2, 2, 3), value, np.uint8) for value in (7, 8, 0, 9)]
    first = batcher.submit(pictures[0])
    assert held.begun.wait(60)
    others = [batcher.submit(picture) for picture in pictures[1:]]
    held.go.set()
    assert [first.result(60).score, others[0].result(60).score, others[2].result(60).score] == [7, 8, 9]
    with pytest.raises(DetectorError, match="black"):
        others[1].result(60)
    assert held.batches == [1, 3, 1, 1, 1]
    batcher.close()


def test_too_many_waiting_pictures_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "WAITING", 2)
    held = Held()
    batcher = Batcher(held, "test")
    picture = np.ones((2, 2, 3), np.uint8)
    first = batcher.submit(picture)
    assert held.begun.wait(60)
    waiting = [batcher.submit(picture), batcher.submit(picture)]
    with pytest.raises(Problem) as refused:
        batcher.submit(picture)
    assert (refused.value.status_code, refused.value.slug) == (503, "busy")
    held.go.set()
    assert [answer.result(60).score for answer in (first, *waiting)] == [1, 1, 1]
    batcher.close()
