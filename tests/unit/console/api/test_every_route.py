"""No route answers without the role that it needs, and each answers with it."""

from __future__ import annotations

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles

from console.api.app import create_app
from console.api.guard import EVERYONE, GuardedRoute, needs, require_roles, routes
from console.api.roles import Role
from console.api.sessions import COOKIE
from sightline import samples
from sightline.errors import SettingsError

PASSWORD = "seven grey gaskets"
DEFECT = samples.inspection(sequence=1).inspection_id
ALERT = samples.alert(sequence=1).alert_id
MEAN = {"content-type": "image/jpeg"}

# a request to each route that it answers with the given status when the role is right
CALLS = {
    ("GET", "/v1/health/live"): (200, {}),
    ("GET", "/v1/health/ready"): (200, {}),
    ("GET", "/v1/health"): (200, {}),
    ("GET", "/v1/openapi.json"): (200, {}),
    ("GET", "/v1/audit"): (200, {}),
    ("POST", "/v1/session"): (201, {"json": {"name": "ines", "password": PASSWORD}}),
    ("GET", "/v1/session"): (200, {}),
    ("DELETE", "/v1/session"): (204, {}),
    ("POST", "/v1/setup"): (409, {"json": {"name": "x", "password": PASSWORD, "token": "y"}}),
    ("GET", "/v1/oidc/login"): (404, {}),
    ("GET", "/v1/oidc/callback"): (404, {"params": {"state": "x"}}),
    ("GET", "/v1/cameras"): (200, {}),
    ("GET", "/v1/inspections"): (200, {}),
    ("GET", "/v1/inspections/{inspection_id}"): (200, {}),
    ("GET", "/v1/inspections/{inspection_id}/thumbnail"): (200, {}),
    ("GET", "/v1/inspections/{inspection_id}/frame"): (200, {}),
    ("GET", "/v1/tables"): (200, {}),
    ("GET", "/v1/tables/{name}"): (200, {}),
    ("GET", "/v1/alerts"): (200, {}),
    ("GET", "/v1/alerts/stream"): (200, {}),
    ("GET", "/v1/alerts/{alert_id}"): (200, {}),
    ("GET", "/v1/alerts/{alert_id}/thumbnail"): (200, {}),
    ("POST", "/v1/alerts/{alert_id}/actions"): (201, {"json": {"kind": "acknowledge"}}),
    ("GET", "/v1/mutes"): (200, {}),
    ("POST", "/v1/mutes"): (201, {"json": {"camera": "cam-1", "minutes": 30}}),
    ("DELETE", "/v1/mutes/{mute_id}"): (404, {}),
    ("POST", "/v1/maintenance-windows"): (422, {"json": {"line": "line-a", "ends_at": "2026-03-02T06:30:00Z"}}),
    ("DELETE", "/v1/maintenance-windows/{mute_id}"): (404, {}),
    ("GET", "/v1/detectors"): (200, {}),
    ("GET", "/v1/detectors/{product}/{version}"): (200, {}),
    ("POST", "/v1/detectors/{product}/promote"): (200, {"json": {"version": "2"}}),
    ("POST", "/v1/detectors/{product}/rollback"): (200, {}),
    ("GET", "/v1/detectors/{product}/{version}/gate"): (200, {}),
    ("GET", "/v1/detectors/{product}/{version}/files"): (200, {}),
    ("GET", "/v1/detectors/{product}/{version}/file"): (200, {"params": {"path": "evaluation/roc.png"}}),
    ("POST", "/v1/detectors/{product}/retraining"): (202, {"json": {}}),
    ("GET", "/v1/retraining"): (200, {}),
    ("GET", "/v1/retraining/stream"): (200, {}),
    ("DELETE", "/v1/retraining"): (409, {}),
    ("GET", "/v1/inspections/{inspection_id}/trace"): (200, {}),
    ("GET", "/v1/charts/defect-rate"): (200, {}),
    ("GET", "/v1/charts/defect-types"): (200, {}),
    ("GET", "/v1/charts/fractions"): (422, {}),
    ("GET", "/v1/charts/subgroups"): (422, {}),
    ("GET", "/v1/charts/line-metrics"): (200, {}),
    ("GET", "/v1/charts/drift"): (200, {}),
    ("GET", "/v1/charts/champions"): (404, {"params": {"product": "bottle_cap"}}),
    ("GET", "/v1/charts/thresholds"): (200, {"params": {"product": "bottle_cap"}}),
    ("GET", "/v1/exports/inspections"): (200, {}),
    ("GET", "/v1/exports/inspections/size"): (200, {}),
    ("POST", "/v1/inspect"): (200, {"params": {"product": "washer"}, "headers": MEAN}),
}
PLACES = {
    "inspection_id": DEFECT,
    "alert_id": ALERT,
    "name": "alerts",
    "product": "washer",
    "version": "1",
    "mute_id": "0" * 32,
}


def all_routes(app):
    return {(method, path): route for path, route in routes(app) for method in route.methods}


@pytest.fixture
def asked(deployment, jpeg):
    """Sends the call of a route with some headers."""
    deployment.services.users.add("ines", Role.VIEWER, PASSWORD)
    # what streams would go on, as long as the feed does
    deployment.services.feed.stop()
    client = deployment.client()

    def ask(method, path, headers):
        request = dict(CALLS[method, path][1])
        if path == "/v1/inspect":
            request["content"] = jpeg(120)
        request["headers"] = headers | request.get("headers", {})
        client.cookies.clear()
        return client.request(method, path.format(**PLACES), **request)

    return ask


def test_every_route_answers_to_its_role_and_to_none_below(deployment, asked) -> None:
    found = all_routes(deployment.app)
    assert found.keys() == CALLS.keys(), "give a new route its call here"
    keys = {role: deployment.key(role) for role in Role}
    for (method, path), route in found.items():
        status, where = CALLS[method, path][0], f"{method} {path}"
        if route.needed is EVERYONE:
            assert asked(method, path, {}).status_code == status, where
            continue
        for nobody in ({}, {"Authorization": "Bearer sl_000000000000_" + "A" * 43}, {"Cookie": f"{COOKIE}=forged"}):
            refused = asked(method, path, nobody)
            assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json"), where
        for role in Role:
            if not role.covers(route.needed):
                refused = asked(method, path, keys[role])
                assert refused.status_code == 403, f"{where} as {role}"
                assert refused.json()["type"] == "urn:sightline:problem:role"
    # afterwards, so that what was refused cannot have been prepared by what was not
    for (method, path), route in found.items():
        if route.needed is not EVERYONE:
            assert asked(method, path, keys[route.needed]).status_code == CALLS[method, path][0], f"{method} {path}"


def test_only_these_routes_are_open_to_everyone(deployment) -> None:
    assert {path for (_, path), route in all_routes(deployment.app).items() if route.needed is EVERYONE} == {
        "/v1/health/live",
        "/v1/health/ready",
        "/v1/openapi.json",
        "/v1/session",
        "/v1/setup",
        "/v1/oidc/login",
        "/v1/oidc/callback",
    }


def test_what_changes_something_needs_more_than_a_viewer(deployment) -> None:
    for (method, path), route in all_routes(deployment.app).items():
        if method not in ("GET", "HEAD") and not path.startswith(("/v1/session", "/v1/setup")):
            assert route.needed in (Role.OPERATOR, Role.ENGINEER, Role.ADMIN), path


def test_a_route_that_forgot_its_role_cannot_be_made() -> None:
    router = APIRouter(route_class=GuardedRoute)
    with pytest.raises(SettingsError, match=r"/secret does not declare the role"):
        router.get("/secret")(lambda: "told")


def test_an_application_with_any_other_kind_of_route_does_not_start(deployment, tmp_path) -> None:
    plain = APIRouter()
    plain.get("/secret")(needs(Role.ADMIN)(lambda: "told"))
    with pytest.raises(SettingsError, match="/secret"):
        create_app(deployment.services, (plain,))
    with pytest.raises(SettingsError, match=r"/docs|/openapi\.json"):
        require_roles(FastAPI())
    app = create_app(deployment.services)
    app.mount("/files", StaticFiles(directory=tmp_path))
    with pytest.raises(SettingsError, match="/files"):
        require_roles(app)


def test_who_may_not_come_in_is_told_before_the_body_is_read(deployment) -> None:
    client = deployment.client()
    answer = client.post(
        "/v1/detectors/washer/promote", content=b"{" * 10, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 401


def test_the_document_says_which_role_a_route_needs(deployment) -> None:
    document = deployment.client().get("/v1/openapi.json").json()
    assert document["paths"]["/v1/detectors/{product}/promote"]["post"]["x-sightline-role"] == "engineer"
    assert document["paths"]["/v1/health/live"]["get"]["security"] == []
