"""What engineers see and do: as plain HTTP, and in a real browser; all of the latter with `make pages`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from models.doubles import write_brightness_bundle
from models.registry import CHALLENGER, CHAMPION, RegisteredDetector, RegistryEntry
from models.run_files import RunFile
from models.runtime.card import bundle_digest, load_card, save_card
from sightline import samples
from sightline.contracts import Verdict

PASSWORD = "seven grey gaskets"
PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\6\0\0\0\x1f\x15\xc4\x89\0\0\0\nIDATx\x9cc\0\1\0\0\5\0\1\r\n-\xb4"
    b"\0\0\0\0IEND\xaeB`\x82"
)
PAGES = (
    "/history",
    "/history?view=table&verdict=defect",
    "/parts?camera=cam-1&sequence=3",
    "/quality",
    "/quality/control?camera=cam-1",
    "/quality/lines",
    "/quality/challengers?product=bottle_cap",
    "/quality/thresholds?product=bottle_cap",
    "/detectors",
    "/detectors/bottle_cap?version=4",
)
RETRAIN = """
import sys, time
print("reading 12 new frames", file=sys.stderr, flush=True)
print("progress features 3 10", file=sys.stderr, flush=True)
time.sleep(120)
"""
at_length = pytest.mark.skipif(
    not os.environ.get("SIGHTLINE_TEST_PAGES"), reason="a browser takes seconds for each; `make pages` runs them"
)


class Registry:
    """Version 3 judges, version 4 is what a retraining proposed; one plot each."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.champions = ["3"]
        for version in ("3", "4"):
            write_brightness_bundle(folder / version, threshold=0.62, review_threshold=0.5)
            save_card(replace(load_card(folder / version), run_id=f"run-{version}"), folder / version)

    def entries(self, settings) -> list[RegistryEntry]:
        made = datetime(2026, 3, 1, tzinfo=UTC)
        aliases = {self.champions[-1]: CHAMPION, "4" if self.champions[-1] == "3" else "": CHALLENGER}
        return [
            RegistryEntry(
                self._detector(version), (aliases[version],) if version in aliases else (), made, {"f1": 0.9}, {}
            )
            for version in ("4", "3")
        ]

    def set_champion(self, product, version, settings) -> RegisteredDetector:
        self.champions.append(version)
        return self._detector(version)

    def fetch(self, detector, folder, settings):
        return self.folder / detector.version

    def tags(self, run_id, settings) -> dict[str, str]:
        said = {"result": "refused", "why": "f1 0.8100 is below the champion's 0.9000", "champion": "3", "policy": ""}
        return {f"sightline.retraining.{name}": text for name, text in said.items()} if run_id == "run-4" else {}

    def files(self, run_id, settings) -> list[RunFile]:
        return [RunFile("evaluation/roc.png", len(PNG))]

    def read(self, run_id, path, settings) -> bytes:
        return PNG

    def _detector(self, version) -> RegisteredDetector:
        return RegisteredDetector("sightline.bottle_cap", "bottle_cap", version, bundle_digest(self.folder / version))


@pytest.fixture
def hall(start, history, tmp_path) -> Any:
    """Nine hours of cam-1, with two defects each, one of them confirmed; the challenger looked on."""
    frames = [
        samples.inspection(
            sequence=hour * 36_000 + nth,
            score=0.9 if nth > 10 else 0.2 + nth / 50,
            verdict=Verdict.DEFECT if nth > 10 else Verdict.OK,
        )
        for hour in range(9)
        for nth in range(13)
    ]
    alert = samples.alert(sequence=11, revision=1)
    history.write(*frames, alert, replace(samples.operator_action(), alert_id=alert.alert_id))
    history.write(*(samples.shadow_inspection(sequence=nth) for nth in range(13)))
    history.archive(frames[11], frames[12])
    registry = Registry(tmp_path / "bundles")
    return start(detectors=registry, records=registry, retrain=(sys.executable, "-c", RETRAIN))


@contextmanager
def client(hall, name="erik") -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=hall.url, timeout=60) as found:
        assert found.post("/v1/session", json={"name": name, "password": PASSWORD}).status_code == 201
        yield found


def test_every_page_answers_with_nothing_inline(hall) -> None:
    with client(hall) as engineer:
        for path in PAGES:
            answer = engineer.get(path)
            assert answer.status_code == 200, (path, answer.text[-2000:])
            assert "This cannot be shown" not in answer.text, path
            assert not re.search(r"<script(?![^>]* src=)|\sstyle=|\son\w+=", answer.text), path
        part = engineer.get("/parts?camera=cam-1&sequence=11").text
        assert "162.0 ms" in part
        assert "confirmed a defect: scratch" in part
        assert "The gate compared it with champion 3" in engineer.get("/detectors/bottle_cap?version=4").text
        drift = engineer.get("/quality/drift")
        assert (drift.status_code, "sightline drift" in drift.text) == (503, True)
    with client(hall, "vic") as viewer:
        assert "/v1/exports" not in viewer.get("/history").text
        shown = viewer.get("/detectors/bottle_cap?version=4").text
        assert 'id="promote"' not in shown
        assert 'id="retrain"' not in shown


WRONG = (
    ("/history?camera=cam-9", 404, "There is no camera &#39;cam-9&#39;; known: cam-1"),
    ("/history?since=soon", 422, "Since is &#39;soon&#39;; write a date and time"),
    ("/history?since=2026-03-03T00:00&until=2026-03-02T00:00", 422, "choose an end after the begin"),
    ("/history?score_min=high", 422, "Score min is &#39;high&#39;; write a number"),
    ("/history?verdict=bad", 422, "write ok, review or defect"),
    ("/history?cursor=nonsense", 400, "start again without one"),
    ("/quality?seconds=5", 422, "write one of"),
    ("/quality/control?baseline_since=2030-01-01T00:00", 422, "the baseline holds 0 points"),
    ("/quality/lines?shift_begin=22&shift_end=6", 422, "a shift past midnight is two"),
    ("/quality/thresholds?product=gasket", 404, "There is no product &#39;gasket&#39;"),
    ("/parts?camera=cam-1&sequence=x", 404, "name a camera and the number"),
    ("/detectors/gasket", 404, "sightline train"),
    ('/history?camera="><script>alert(1)</script>', 404, "&lt;script&gt;alert(1)"),
)


def test_what_cannot_be_answered_is_said_beside_what_was_typed(hall) -> None:
    with client(hall) as engineer:
        for path, status, says in WRONG:
            answer = engineer.get(path)
            assert answer.status_code == status, path
            assert says.lower() in answer.text.lower(), path
            assert "<script>alert" not in answer.text


def test_pages_without_tables_say_what_writes_them_and_ended_sessions_come_back(start) -> None:
    hall = start()
    with client(hall) as engineer:
        for path in ("/history", "/quality", "/quality/control", "/quality/lines", "/quality/thresholds?product=x"):
            answer = engineer.get(path)
            assert (answer.status_code, "sightline history" in answer.text) == (503, True), path
        engineer.cookies.clear()
        ended = engineer.get("/history?camera=cam-1&view=table")
        assert ended.headers["location"] == "/login?next=/history%3Fcamera%3Dcam-1%26view%3Dtable"


def test_a_page_of_history_leads_to_the_next(history, start) -> None:
    history.write(*(samples.inspection(sequence=nth) for nth in range(130)))
    with client(start()) as engineer:
        first = engineer.get("/history?view=table").text
        older = re.search(r'href="(/history\?[^"]*cursor=[^"]*)"', first)[1].replace("&amp;", "&")
        second = engineer.get(older).text
        numbers = [int(found) for found in re.findall(r'right">(\d+)</td><td>line-a', first + second)]
        assert numbers == list(range(129, -1, -1))
        assert "oldest that fit" in second


def test_an_engineer_looks_back_and_decides(hall, visitor) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    expect = playwright.expect
    one = visitor(hall)
    page = one.log_in("erik", "/history?verdict=defect")
    page.get_by_role("link", name="#288012").click()
    expect(page.get_by_role("heading", name="cam-1 #288012")).to_be_visible()
    page.goto(hall.url + "/quality/thresholds?product=bottle_cap")
    lost = page.locator('[data-is="no_longer.defective"]')
    expect(lost).to_have_text("0")
    page.get_by_role("slider", name="Threshold").press("End")
    expect(page.locator('[data-is="now.defect"]')).to_have_text("18")
    page.locator("#slide").evaluate("it => { it.value = 0.895; it.dispatchEvent(new Event('change')); }")
    expect(page.locator('[data-is="threshold"]').first).to_have_text("0.8950")
    page.goto(hall.url + "/detectors/bottle_cap?version=4")
    page.get_by_role("button", name="Make it champion…").click()
    expect(page.locator("#sure-gate")).to_contain_text("refused. f1 0.8100 is below the champion's 0.9000")
    page.get_by_role("button", name="Make it champion", exact=True).click()
    expect(page.locator("tr.here .alias.champion")).to_be_visible()
    page.get_by_role("button", name="Retrain bottle_cap").click()
    expect(page.locator("#step-name")).to_have_text("features, 3 of 10")
    page.reload()
    expect(page.locator("#log")).to_contain_text("reading 12 new frames")
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("button", name="Cancel it").click()
    expect(page.locator("#run-title")).to_contain_text("Cancelled")
    assert not one.complaints


@at_length
@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [1440, 768])
def test_pages_have_no_accessibility_fault_and_fit_the_width(hall, visitor, width, theme) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    one = visitor(hall, width=width, height=1024, theme=theme)
    page = one.log_in("erik", "/history")
    for path in PAGES:
        page.goto(hall.url + path)
        faults = axe.run(page).response["violations"]
        grave = [(fault["id"], [node["html"][:200] for node in fault["nodes"][:3]]) for fault in faults
                 if fault["impact"] in ("serious", "critical")]  # fmt: skip
        assert not grave, (path, grave)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


@at_length
def test_a_million_rows_are_refused_without_leaving_the_page(hall, visitor, monkeypatch) -> None:
    from console.engineering import exports

    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    monkeypatch.setattr(exports, "MOST_ROWS", dict.fromkeys(exports.Format, 3))
    page = visitor(hall).log_in("erik", "/history")
    page.get_by_role("link", name="CSV").click()
    playwright.expect(page.locator(".notice.bad")).to_contain_text("117 inspections fit, and csv takes at most 3")
    assert page.url.endswith("/history")
