"""The pages as plain HTTP: who may see them, where others are sent, and what a browser may do with them."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from console.api.alert_feed import AlertFeed
from console.api.app import create_app
from console.api.guard import EVERYONE, routes
from console.api.roles import Role
from console.api.services import wire
from console.api.settings import ApiSettings, OidcSettings
from console.web.floor_feed import FloorFeed
from console.web.pages import NAVIGATION, PageRoute
from console.web.site import routers
from sightline.settings import KafkaSettings, RegistrySettings, TableSettings

PASSWORD = "seven grey gaskets"


@pytest.fixture
def app(tmp_path):
    """The whole console over nothing: no tables, no broker, no registry."""
    services = wire(
        ApiSettings(folder=tmp_path / "console"),
        OidcSettings(),
        kafka=KafkaSettings(bootstrap="127.0.0.1:1"),
        tables=TableSettings(root=str(tmp_path / "tables")),
        registry=RegistrySettings(),
        feed=AlertFeed(lambda: None),
    )
    services.users.add("vic", Role.VIEWER, PASSWORD)
    return create_app(services, routers(FloorFeed(lambda: None, lambda: None)))


@pytest.fixture
def browser(app):
    return TestClient(app, follow_redirects=False)


@pytest.fixture
def viewer(browser):
    assert browser.post("/v1/session", json={"name": "vic", "password": PASSWORD}).status_code == 201
    return browser


def own_pages(app):
    return {path: route for path, route in routes(app) if isinstance(route, PageRoute) and "GET" in route.methods}


def test_no_page_shows_without_a_session_and_each_comes_back_after_login(app, browser) -> None:
    for path, route in own_pages(app).items():
        if route.needed is EVERYONE:
            continue
        asked = re.sub(r"{[^}]+}", "0" * 32, path)
        answer = browser.get(asked)
        assert answer.status_code == 303, path
        assert answer.headers["location"] == ("/login" if asked == "/" else f"/login?next={asked}")


def test_what_pages_fetch_is_refused_with_a_problem(app, browser) -> None:
    fetched = [path for path, _ in routes(app) if path.startswith("/console/")]
    assert "/console/live" in fetched
    for path in fetched:
        answer = browser.get(re.sub(r"{[^}]+}", "0" * 32, path))
        assert answer.status_code in (401, 405), path
        assert answer.headers["content-type"] == "application/problem+json"


def test_only_what_must_be_is_open_to_everyone(app) -> None:
    assert {path for path, route in routes(app) if route.needed is EVERYONE and not path.startswith("/v1/")} <= {
        "/login",
        "/setup",
        "/assets/{digest}/{name}",
        "/favicon.ico",
        "/metrics",
    }


@pytest.mark.parametrize("elsewhere", ["https://evil.test/", "//evil.test/", "/\\evil.test/", "javascript:alert(1)"])
def test_after_login_nobody_is_sent_to_another_host(browser, viewer, elsewhere) -> None:
    assert viewer.get("/login", params={"next": elsewhere}).headers["location"] == "/"
    browser.cookies.clear()
    assert 'data-next="/"' in browser.get("/login", params={"next": elsewhere}).text


def test_pages_may_load_nothing_from_elsewhere_and_nothing_inline(viewer) -> None:
    for path in ("/", "/alerts", f"/alerts/{'0' * 32}"):
        answer = viewer.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert not re.search(r"unsafe|https?:|\*|data:", policy)
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r"<script(?![^>]* src=)|\sstyle=|\son\w+=", answer.text), path


def test_files_are_kept_by_the_browser_until_they_change(browser) -> None:
    address = re.search(r'href="(/assets/[^"]+\.css)"', browser.get("/login").text)[1]
    assert "immutable" in browser.get(address).headers["cache-control"]
    old = re.sub(r"/assets/\w+/", "/assets/0123456789abcdef/", address)
    assert browser.get(old).headers["cache-control"] == "no-store"
    assert browser.get("/assets/x/..%2f..%2fpages.py").status_code == 404
    assert browser.get("/assets/x/nothing.css").status_code == 404


def test_the_navigation_shows_what_the_role_may_see(viewer) -> None:
    shown = viewer.get("/").text
    for link in NAVIGATION:
        assert (f'href="{link.path}"' in shown) == (link.needed is Role.VIEWER), link.title


def test_a_failure_is_a_page_with_a_sentence(viewer) -> None:
    answer = viewer.get("/alerts/nonsense")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "text/html; charset=utf-8")
    assert "alert_id" in answer.text


def test_what_was_typed_into_an_address_is_text_on_the_page(browser) -> None:
    shown = browser.get("/login", params={"next": '/"><script>alert(1)</script>'}).text
    assert "<script>alert" not in shown
