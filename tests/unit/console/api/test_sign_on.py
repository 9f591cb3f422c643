"""Single sign-on against a small provider of its own: who comes in, with which role, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.testclient import TestClient
from joserfc import jwt
from joserfc.jwk import RSAKey

from console.api.app import create_app
from console.api.oidc import SignOn
from console.api.roles import Role
from console.api.settings import OidcSettings
from sightline.errors import SettingsError

CALLBACK = "http://testserver/v1/oidc/callback"


class Provider:
    """Says what `claims` say, signed with `key`; gives a token only for the code with the right verifier."""

    def __init__(self) -> None:
        self.key = self.signs_with = RSAKey.generate_key(2048, {"kid": "one"})
        self.claims = {}
        self.challenge = ""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.answer(
                    {"keys": [provider.key.as_dict(private=False)]}
                    if self.path == "/keys"
                    else {
                        "issuer": provider.issuer,
                        "authorization_endpoint": provider.issuer + "/authorize",
                        "token_endpoint": provider.issuer + "/token",
                        "jwks_uri": provider.issuer + "/keys",
                    }
                )

            def do_POST(self):
                sent = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                digest = hashlib.sha256(sent["code_verifier"][0].encode()).digest()
                if base64.urlsafe_b64encode(digest).decode().rstrip("=") != provider.challenge:
                    self.answer({"error": "invalid_grant"}, 400)
                    return
                token = jwt.encode({"alg": "RS256", "kid": "one"}, provider.claims, provider.signs_with)
                self.answer({"access_token": "a", "token_type": "Bearer", "id_token": token})

            def answer(self, body, status=200):
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def provider(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    provider = Provider()
    yield provider
    provider.server.shutdown()
    provider.server.server_close()


@pytest.fixture
def signing(deployment, provider):
    settings = OidcSettings(
        issuer=provider.issuer,
        redirect_uri=CALLBACK,
        roles={"line": Role.OPERATOR, "process": Role.ENGINEER},
    )
    services = replace(deployment.services, sign_on=SignOn(settings, "secret"))
    return TestClient(create_app(services), follow_redirects=False)


def sign_on(browser, provider, *, state=None, **claims):
    """The browser goes to the provider and comes back; `claims` change what is said there."""
    asked = parse_qs(urlsplit(browser.get("/v1/oidc/login").headers["location"]).query)
    provider.challenge = asked["code_challenge"][0]
    provider.claims = {
        "iss": provider.issuer,
        "aud": "sightline",
        "sub": "u1",
        "preferred_username": "ines",
        "groups": ["line"],
        "nonce": asked["nonce"][0],
        "exp": int(time.time()) + 60,
    } | claims
    return browser.get("/v1/oidc/callback", params={"code": "c", "state": state or asked["state"][0]})


def test_who_the_provider_vouches_for_comes_in_with_the_highest_mapped_role(signing, provider) -> None:
    assert sign_on(signing, provider).headers["location"] == "/"
    found = signing.get("/v1/session").json()
    assert (found["name"], found["role"], found["kind"]) == ("ines", "operator", "user")
    sign_on(signing, provider, groups=["line", "process", "other"])
    assert signing.get("/v1/session").json()["role"] == "engineer"


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"nonce": "of another sign-on"}, 401),
        ({"aud": "another application"}, 401),
        ({"iss": "http://elsewhere"}, 401),
        ({"exp": 1}, 401),
        ({"groups": ["canteen"]}, 403),
        ({"groups": None}, 403),
    ],
)
def test_what_cannot_be_trusted_or_has_no_role_stays_out(signing, provider, claims, status) -> None:
    assert sign_on(signing, provider, **claims).status_code == status
    assert signing.get("/v1/session").status_code == 401


def test_a_token_of_another_key_and_an_answer_to_another_state_are_refused(signing, provider) -> None:
    assert sign_on(signing, provider, state="guessed").status_code == 401
    provider.signs_with = RSAKey.generate_key(2048, {"kid": "one"})
    assert sign_on(signing, provider).status_code == 401


def test_an_answer_in_another_browser_is_refused(signing, provider) -> None:
    asked = parse_qs(urlsplit(signing.get("/v1/oidc/login").headers["location"]).query)
    signing.cookies.clear()
    refused = signing.get("/v1/oidc/callback", params={"code": "c", "state": asked["state"][0]})
    assert refused.status_code == 401


def test_single_sign_on_cannot_take_over_a_local_user_or_undo_a_disabling(deployment, signing, provider) -> None:
    users = deployment.services.users
    users.add("root", Role.ADMIN, "seven grey gaskets")
    assert sign_on(signing, provider, preferred_username="root").status_code == 403
    assert users.get("root").role is Role.ADMIN
    sign_on(signing, provider)
    users.set_disabled("ines", True)
    assert sign_on(signing, provider).status_code == 403


def test_a_provider_that_is_reached_in_clear_is_refused() -> None:
    with pytest.raises(SettingsError, match="issuer must be https"):
        OidcSettings.load(issuer="http://login.plant.local", redirect_uri=CALLBACK)
    assert OidcSettings.load(issuer="https://login.plant.local", redirect_uri=CALLBACK).issuer
