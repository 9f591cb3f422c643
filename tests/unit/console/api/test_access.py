"""Passwords, sessions, keys, and what is written down about them."""

from __future__ import annotations

import json
import stat
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from console.api import keys as keys_module
from console.api import sessions as sessions_module
from console.api.roles import Role
from console.api.sessions import COOKIE, CSRF_HEADER
from console.api.settings import ApiSettings
from console.api.store import Store, now
from console.api.users import Users
from console.commands import app
from sightline import samples
from sightline.errors import AccessError, PrerequisiteError, SettingsError

PASSWORD = "seven grey gaskets"
ALERT = samples.alert(sequence=1).alert_id
ACTIONS = f"/v1/alerts/{ALERT}/actions"


@pytest.fixture
def ines(deployment):
    """A browser in which the operator ines has logged in."""
    deployment.services.users.add("ines", Role.OPERATOR, PASSWORD)
    browser = deployment.client()
    browser.csrf = browser.post("/v1/session", json={"name": "ines", "password": PASSWORD}).json()["csrf"]
    return browser


def log_in(client, password=PASSWORD, name="ines"):
    return client.post("/v1/session", json={"name": name, "password": password})


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(deployment) -> None:
    deployment.services.users.add("ines", Role.VIEWER, PASSWORD)
    cookie = log_in(deployment.client()).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "max-age=43200" in cookie
    assert "secure" not in cookie


def test_behind_tls_the_cookie_is_never_sent_in_clear(deploy) -> None:
    secured = deploy(behind_proxy=True)
    secured.services.users.add("ines", Role.VIEWER, PASSWORD)
    assert "secure" in log_in(secured.client()).headers["set-cookie"].lower()


def test_what_changes_state_needs_the_pages_own_token(deployment, ines) -> None:
    refused = ines.post(ACTIONS, json={"kind": "acknowledge"})
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:sightline:problem:csrf")
    assert ines.post(ACTIONS, json={"kind": "acknowledge"}, headers={CSRF_HEADER: "guessed"}).status_code == 403
    assert not deployment.sink.taken
    assert ines.get("/v1/session").json()["csrf"] == ines.csrf
    assert ines.post(ACTIONS, json={"kind": "acknowledge"}, headers={CSRF_HEADER: ines.csrf}).status_code == 201
    assert [action.actor for action in deployment.sink.taken] == ["ines"]


def test_logging_out_ends_the_session_and_every_copy_of_its_cookie(ines) -> None:
    stolen = {"Cookie": f"{COOKIE}={ines.cookies[COOKIE]}"}
    assert ines.delete("/v1/session", headers={CSRF_HEADER: ines.csrf}).status_code == 204
    ines.cookies.clear()
    assert ines.get("/v1/session", headers=stolen).status_code == 401


def test_a_session_ends_by_itself(ines, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ines.get("/v1/session").status_code == 200
    monkeypatch.setattr(sessions_module, "now", lambda: now() + timedelta(hours=12, minutes=1))
    assert ines.get("/v1/session").status_code == 401


@pytest.mark.parametrize("change", ["disable", "password"])
def test_disabling_a_user_and_changing_the_password_end_sessions(deployment, ines, change) -> None:
    users = deployment.services.users
    users.set_disabled("ines", True) if change == "disable" else users.set_password("ines", "nine blue gaskets")
    assert ines.get("/v1/session").status_code == 401
    assert log_in(ines).status_code == 401


def test_a_role_that_was_changed_counts_at_once(deployment, ines) -> None:
    assert ines.get("/v1/audit").status_code == 403
    with Store(deployment.services.settings.folder).open() as connection:
        connection.execute("UPDATE users SET role = 'admin' WHERE name = 'ines'")
    assert ines.get("/v1/audit").status_code == 200


def test_a_cookie_that_was_tampered_with_is_worth_nothing(ines) -> None:
    cookie = ines.cookies[COOKIE]
    ines.cookies.clear()
    # the first character of the signature: the last one has bits that mean nothing
    signed, _, signature = cookie.rpartition(".")
    other = f"{signed}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    for forged in (other, cookie.partition(".")[0], "", "é".encode()):
        text = forged.decode("latin-1") if isinstance(forged, bytes) else forged
        assert ines.get("/v1/session", headers={"Cookie": f"{COOKIE}={text}".encode("latin-1")}).status_code == 401


def test_wrong_names_and_wrong_passwords_sound_the_same(deployment) -> None:
    deployment.services.users.add("ines", Role.VIEWER, PASSWORD)
    client = deployment.client()
    answers = [log_in(client, "wrong password"), log_in(client, name="nobody")]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json()["detail"] for answer in answers}) == 1


def test_guessing_is_slowed_down_even_with_the_right_password_in_the_end(deploy) -> None:
    deployment = deploy(login_attempts=3)
    deployment.services.users.add("ines", Role.VIEWER, PASSWORD)
    client = deployment.client()
    assert [log_in(client, "wrong password").status_code for _ in range(3)] == [401] * 3
    refused = log_in(client)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60


def test_a_key_that_asks_too_often_is_told_to_wait(deploy) -> None:
    client = deploy(requests_a_minute=3).client(Role.VIEWER)
    assert [client.get("/v1/session").status_code for _ in range(4)] == [200, 200, 200, 429]


def test_a_key_works_until_it_is_revoked_or_over(deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = deployment.services.keys
    client = deployment.client()

    def status(text: str) -> int:
        return client.get("/v1/session", headers={"Authorization": f"Bearer {text}"}).status_code

    first, text = keys.create("plc", Role.VIEWER, 1)
    _, other = keys.create("plc", Role.VIEWER, 90)
    assert (status(text), status(other)) == (200, 200)
    assert status(text[:-2] + ("AA" if text[-2:] != "AA" else "BB")) == 401
    keys.revoke(first.key_id)
    assert (status(text), status(other)) == (401, 200)
    monkeypatch.setattr(keys_module, "now", lambda: now() + timedelta(days=91))
    assert status(other) == 401


def test_a_wrong_key_is_not_made_good_by_a_session(ines) -> None:
    assert ines.get("/v1/session", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert ines.get("/v1/session", headers={"Authorization": "Basic aW5lczp4"}).status_code == 401


def test_neither_passwords_nor_keys_are_stored_or_written_down(deployment, ines, caplog) -> None:
    _, text = deployment.services.keys.create("plc", Role.VIEWER, 1)
    log_in(ines, "a wrong guess")
    ines.post("/v1/session", json={"name": "ines", "password": ["a wrong shape"]})
    folder = deployment.services.settings.folder
    stored = b"".join(file.read_bytes() for file in folder.iterdir()) + caplog.text.encode()
    for secret in (PASSWORD, text.split("_", 2)[2], "a wrong guess", "a wrong shape", ines.csrf[:-1] + "!"):
        assert secret.encode() not in stored
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.glob("access*")} == {0o600}


def test_a_wrong_shape_does_not_come_back_with_the_password_in_it(deployment) -> None:
    answer = deployment.client().post("/v1/session", json={"name": ["x"], "password": PASSWORD})
    assert answer.status_code == 422
    assert PASSWORD not in answer.text


def test_a_file_that_others_may_read_is_refused(tmp_path) -> None:
    Store(tmp_path).path.chmod(0o644)
    with pytest.raises(PrerequisiteError, match="chmod 600"):
        Store(tmp_path)


@pytest.mark.parametrize(
    ("name", "password"),
    [("ines", "short"), ("ines", "x" * 20), ("ines", "ines12345678"), ("../ines", PASSWORD), ("ines", "a" * 300)],
)
def test_weak_passwords_and_odd_names_are_refused(tmp_path, name, password) -> None:
    with pytest.raises(AccessError):
        Users(Store(tmp_path)).add(name, Role.VIEWER, password)


def test_the_first_admin_is_made_with_the_token_once(deployment) -> None:
    services, client = deployment.services, deployment.client()
    body = {"name": "root", "password": PASSWORD, "token": services.setup.text}
    assert client.post("/v1/setup", json=body | {"token": "guess"}).status_code == 403
    assert client.post("/v1/setup", json=body | {"password": "short"}).status_code == 422
    assert client.post("/v1/setup", json=body).json()["role"] == "admin"
    assert client.get("/v1/audit").status_code == 200
    assert client.post("/v1/setup", json=body | {"name": "second"}).status_code == 409
    assert [user.name for user in services.users.list()] == ["root"]


def test_what_counts_is_in_the_audit_trail(deployment, ines) -> None:
    log_in(ines, "a wrong guess")
    engineer = deployment.client(Role.ENGINEER)
    engineer.post("/v1/detectors/washer/promote", json={"version": "2"})
    engineer.post("/v1/detectors/washer/rollback")
    engineer.get("/v1/audit")
    engineer.post(ACTIONS, json={"kind": "false-alarm"})
    entries = deployment.client(Role.ADMIN).get("/v1/audit").json()["items"]
    assert [(entry["event"], entry["actor"], entry["ok"]) for entry in reversed(entries)] == [
        ("login", "ines", True),
        ("login", "ines", False),
        ("promote", "key:test engineer", True),
        ("rollback", "key:test engineer", True),
        ("denied", "key:test engineer", False),
        ("action", "key:test engineer", True),
    ]
    assert entries[3]["details"] == {"product": "washer", "version": "2"}


def test_users_and_keys_are_kept_by_command(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_API_FOLDER", str(tmp_path))
    run = CliRunner()

    def said(*words: str, stdin: str = PASSWORD + "\n") -> str:
        done = run.invoke(app, list(words), input=stdin)
        assert done.exit_code == 0, done.output
        return done.stdout

    said("users", "create-admin", "root", "--password-stdin")
    said("users", "add", "ines", "--role", "operator", "--password-stdin")
    said("users", "disable", "ines")
    assert "disabled" in said("users", "list")
    text = said("keys", "create", "plc", "--role", "engineer").strip()
    assert text.startswith("sl_")
    key_id = text.split("_")[1]
    assert text not in said("keys", "list")
    said("keys", "revoke", key_id)
    assert "revoked" in said("keys", "list")
    again = run.invoke(app, ["users", "create-admin", "second", "--password-stdin"], input=PASSWORD + "\n")
    assert isinstance(again.exception, AccessError)
    trail = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [entry["event"] for entry in trail] == [
        "setup", "user-added", "user-disabled", "key-created", "key-revoked",
    ]  # fmt: skip


def test_nothing_listens_to_a_network_in_clear() -> None:
    with pytest.raises(SettingsError, match="passwords would cross the network"):
        ApiSettings(host="0.0.0.0").check()
    with pytest.raises(SettingsError, match="belong together"):
        ApiSettings(tls_key="key.pem").check()
    for safe in ({"host": "::1"}, {"host": "localhost"}, {"host": "0.0.0.0", "behind_proxy": True}):
        ApiSettings(**safe).check()
