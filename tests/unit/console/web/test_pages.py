"""What operators see and do, in a real browser: three tests by default, all of them with `make pages`."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from typing import Any

import pytest

from sightline import samples
from sightline.contracts import ActionKind, AlertState, Severity, Verdict

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; pip install playwright")
playwright.expect.set_options(timeout=15_000)
expect = playwright.expect

PASSWORD = "seven grey gaskets"
at_length = pytest.mark.skipif(
    not os.environ.get("SIGHTLINE_TEST_PAGES"), reason="a browser takes seconds for each; `make pages` runs them"
)


@pytest.fixture
def hall(start) -> Any:
    """A console without tables yet."""
    return start()


def row(page, camera):
    return page.locator("li.alert", has_text=camera)


def until(condition):
    """Wait for what a thread of the server does."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


@at_length
def test_the_first_admin_is_made_with_the_token_and_lands_on_the_wall(start, visitor) -> None:
    hall = start(empty=True)
    page = visitor(hall).page
    page.goto(hall.url + "/")
    assert page.url.endswith("/setup")
    page.get_by_label("Token").fill("not the token")
    page.get_by_label("Your name").fill("root")
    page.get_by_label("Password, at least").fill(PASSWORD)
    page.get_by_label("The same password again").fill("another")
    page.get_by_role("button", name="Make the first admin").click()
    expect(page.get_by_role("alert")).to_have_text("The two passwords differ.")
    page.get_by_label("The same password again").fill(PASSWORD)
    page.get_by_role("button", name="Make the first admin").click()
    expect(page.get_by_role("alert")).to_contain_text("not the token that the terminal shows")
    page.get_by_label("Token").fill(hall.services.setup.text)
    page.get_by_role("button", name="Make the first admin").click()
    expect(page.get_by_role("heading", name="Wall")).to_be_visible()
    page.goto(hall.url + "/setup")
    expect(page.get_by_role("heading", name="Wall")).to_be_visible()


@at_length
def test_who_is_not_logged_in_comes_to_the_page_after_the_password(hall, visitor) -> None:
    page = visitor(hall).page
    page.goto(hall.url + "/alerts?camera=cam-1")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill("wrong " + PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("Name or password is wrong, or the user is disabled.")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/alerts?camera=cam-1")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")


def test_the_wall_shows_verdict_picture_and_silence(hall, visitor) -> None:
    for number in range(20):
        hall.verdict("cam-1", number, Verdict.DEFECT if number == 18 else Verdict.OK, age=2 - number / 10)
        hall.verdict("cam-2", number, age=602 - number / 10)
    hall.picture("cam-1", 19)
    hall.alert("cam-1", severity=Severity.CRITICAL)
    page = visitor(hall).log_in()
    first, second = (page.locator(f'li[data-camera="cam-{n}"]') for n in (1, 2))
    expect(first).to_contain_text("10.0 /s")
    # a bad verdict is not swept away by the good one of a tenth of a second later
    expect(first.locator(".verdict")).to_have_text("defect")
    expect(first.locator(".severity")).to_have_text("alert")
    expect(second).to_contain_text("Verdicts come 10 min late")
    lit = "c => c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data[0] > 100"
    until(lambda: first.locator("canvas").evaluate(lit))
    expect(first.locator(".verdict")).to_have_text("silent")
    expect(first.locator(".health")).to_contain_text("Silent since")
    expect(page.locator("#counts")).to_contain_text("2 silent")


@at_length
def test_a_broker_that_is_gone_is_said_on_the_wall_and_taken_back(hall, visitor) -> None:
    hall.verdict("cam-1", 1)
    page = visitor(hall).log_in()
    expect(page.locator('li[data-camera="cam-1"]')).to_be_visible()
    hall.line.away = True
    expect(page.get_by_role("alert")).to_contain_text("Verdicts do not arrive: the Kafka broker does not answer")
    hall.line.away = False
    expect(page.get_by_text("Verdicts do not arrive")).to_have_count(0)


@at_length
def test_alerts_stand_in_the_order_of_urgency_and_a_new_one_appears(hall, visitor) -> None:
    hall.alert("cam-1", age=10)
    hall.alert("cam-2", age=90)
    hall.alert("cam-3", age=30, severity=Severity.CRITICAL)
    over = hall.alert("cam-4", age=300, state=AlertState.CLOSED)
    page = visitor(hall).log_in(path="/alerts")
    waiting = page.locator('[data-group="waiting"] .open')
    expect(waiting).to_have_text([re.compile(name) for name in ("cam-3", "cam-2", "cam-1")])
    hall.alert("cam-5", age=5, severity=Severity.CRITICAL)
    expect(waiting).to_have_text([re.compile(name) for name in ("cam-3", "cam-5", "cam-2", "cam-1")])
    hall.line.alerts.append(replace(over, revision=over.revision + 1))
    expect(page.locator('[data-group="missed"] .open')).to_have_text(re.compile("cam-4"))


@at_length
def test_every_action_by_keyboard(hall, visitor) -> None:
    for number in range(1, 5):
        hall.alert(f"cam-{number}", age=100 - number)
    page = visitor(hall).log_in(path="/alerts")
    expect(page.locator("li.alert")).to_have_count(4)
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("a")
    expect(page.locator('[data-group="tended"]')).to_contain_text(re.compile(r"cam-1.*acknowledged by anna", re.S))
    row(page, "cam-2").locator(".open").focus()
    page.keyboard.press("d")
    page.get_by_label("Type of the defect").fill("scratch")
    page.keyboard.press("Enter")
    expect(row(page, "cam-2")).to_contain_text("confirmed as a defect: scratch by anna")
    row(page, "cam-3").locator(".open").focus()
    page.keyboard.press("f")
    expect(page.locator('[data-group="done"]')).to_contain_text("cam-3")
    row(page, "cam-4").locator(".open").focus()
    page.keyboard.press("c")
    page.get_by_label("Comment").last.fill("j and k are letters here")
    page.get_by_role("button", name="Send").click()
    until(lambda: len(hall.line.taken) == 4)
    assert [(action.kind, action.defect_type) for action in hall.line.taken] == [
        (ActionKind.ACKNOWLEDGE, None),
        (ActionKind.CONFIRM, "scratch"),
        (ActionKind.FALSE_ALARM, None),
        (ActionKind.COMMENT, None),
    ]
    assert hall.line.taken[-1].comment == "j and k are letters here"
    expect(page.locator('[data-group="waiting"] li.alert')).to_have_count(1)


@at_length
def test_a_camera_is_muted_from_its_alert_and_everybody_sees_it_until_somebody_ends_it(hall, visitor) -> None:
    found = hall.alert("cam-1")
    anna = visitor(hall).log_in("anna", f"/alerts/{found.alert_id}")
    ben = visitor(hall, width=768, height=1024).log_in("ben", "/alerts")
    expect(ben.locator("#mutes")).to_be_hidden()
    anna.get_by_role("button", name="Mute…").click()
    anna.get_by_label("What").select_option(label="cam-1, everything")
    anna.get_by_label(re.compile("^For")).select_option("15")
    anna.get_by_label("Why, if you like").fill("lens is cleaned")
    anna.get_by_role("dialog").get_by_role("button", name="Mute").dblclick()
    expect(anna.locator("#mutes li")).to_have_count(1)
    expect(ben.locator("#mutes li")).to_have_text(re.compile(r"cam-1 until .*, muted by anna · lens is cleaned"))
    assert [(action.kind, action.mute.camera) for action in hall.line.taken] == [(ActionKind.MUTE, "cam-1")]
    ben.get_by_role("button", name="End now").tap()
    expect(ben.locator("#mutes")).to_be_hidden()
    expect(anna.locator("#mutes")).to_be_hidden(timeout=10_000)
    assert hall.line.taken[-1].kind is ActionKind.END_MUTE
    assert hall.line.taken[-1].actor == "ben"


def test_two_operators_see_what_the_other_did_and_a_double_touch_counts_once(hall, visitor) -> None:
    found = hall.alert("cam-1")
    anna = visitor(hall).log_in("anna", "/alerts")
    ben = visitor(hall, width=768, height=1024).log_in("ben", f"/alerts/{found.alert_id}")
    expect(ben.get_by_text("Nobody has answered yet.")).to_be_visible()
    row(anna, "cam-1").get_by_role("button", name="Acknowledge").dblclick()
    expect(ben.locator("#history li")).to_have_text(re.compile("anna acknowledged"))
    ben.get_by_role("button", name="False alarm").tap()
    expect(row(anna, "cam-1")).to_contain_text("marked as a false alarm by ben")
    expect(ben.locator("#history li")).to_have_count(2)
    assert [(action.actor, action.kind) for action in hall.line.taken] == [
        ("anna", ActionKind.ACKNOWLEDGE),
        ("ben", ActionKind.FALSE_ALARM),
    ]


@at_length
def test_one_alert_shows_its_frame_the_ones_beside_it_and_the_heat_map(history, start, visitor) -> None:
    events = [samples.inspection(sequence=n, verdict=Verdict.DEFECT, score=0.9, label="x") for n in range(38, 43)]
    about = replace(samples.alert(), opened_at=events[0].captured_at, updated_at=events[-1].captured_at)
    history.write(*events, about, replace(samples.operator_action(), alert_id=about.alert_id))
    day = events[0].captured_at.date()
    kept = ("inspection_id", "line", "camera", "sequence", "captured_at", "product", "width", "height", "label")
    rows = [{name: getattr(event, name) for name in kept} for event in events[:-1]]
    history.rows("frame_archive", [{**row, "verdict": "defect", "jpeg": samples.JPEG, "day": day} for row in rows])
    page = visitor(start()).log_in(path=f"/alerts/{about.alert_id}")
    expect(page.locator("#strip li")).to_have_count(5)
    expect(page.get_by_role("img", name="Frame 40 of cam-1: defect, score 0.900, 1 marked places")).to_be_visible()
    place = "c => [...c.getContext('2d').getImageData(c.width / 2, c.height * 0.9, 1, 1).data]"
    hot = page.locator("#frame").evaluate(place)
    page.keyboard.press("h")
    plain = page.locator("#frame").evaluate(place)
    assert hot[0] > plain[0] + 20, "the heat map lay over the middle of the lower row"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("img", name="Frame 42 of cam-1")).to_be_visible()
    expect(page.get_by_text("The pixels of this frame were not kept")).to_be_visible()
    expect(page.locator("#history")).to_contain_text(
        re.compile("m.keller confirmed as a defect: scratch.*tool 4", re.S)
    )
    page.keyboard.press("d")
    page.get_by_role("button", name="scratch").click()
    expect(page.get_by_label("Type of the defect")).to_have_value("scratch")


@at_length
def test_an_acknowledgement_that_comes_too_late_is_explained(hall, visitor) -> None:
    found = hall.alert("cam-1", state=AlertState.CLOSED)
    page = visitor(hall).log_in(path=f"/alerts/{found.alert_id}")
    expect(page.get_by_role("button", name="False alarm")).to_be_visible()
    expect(page.get_by_role("button", name="Acknowledge")).to_be_hidden()
    page.keyboard.press("a")
    expect(page.locator("#notices")).to_contain_text("This incident is over, so there is nothing to acknowledge")
    assert not hall.line.taken


@at_length
def test_nothing_typed_is_lost_to_an_absent_broker_or_an_ended_session(hall, visitor) -> None:
    found = hall.alert("cam-1")
    page = visitor(hall).log_in(path=f"/alerts/{found.alert_id}")
    page.get_by_role("button", name="Comment…").click()
    dialog = page.get_by_role("dialog", name="Comment")
    dialog.get_by_label("Comment").fill("the gripper is bent")
    hall.line.away = True
    dialog.get_by_role("button", name="Send").click()
    expect(dialog.get_by_role("alert")).to_contain_text("The broker did not take the action")
    hall.line.away = False
    hall.services.users.set_password("anna", "another " + PASSWORD)  # which ends all sessions
    dialog.get_by_role("button", name="Send").click()
    again = page.get_by_role("dialog", name="Your session has ended")
    again.get_by_label("Password").fill("another " + PASSWORD)
    again.get_by_role("button", name="Log in", exact=True).click()
    expect(page.locator("#history li")).to_contain_text("the gripper is bent")
    assert [action.comment for action in hall.line.taken] == ["the gripper is bent"]


@at_length
def test_a_viewer_looks_and_is_told_why_nothing_else(hall, visitor) -> None:
    found = hall.alert("cam-1")
    page = visitor(hall).log_in("vic", f"/alerts/{found.alert_id}")
    expect(page.locator("#title")).to_contain_text("cam-1")
    expect(page.get_by_role("button", name="Acknowledge")).to_be_hidden()
    page.keyboard.press("a")
    expect(page.locator("#notices")).to_contain_text("Your role is viewer")


@at_length
def test_a_stream_that_is_broken_is_said_to_be(hall, visitor) -> None:
    page = visitor(hall).page
    page.clock.install()
    page.route("**/console/live", lambda route: route.abort())
    page.goto(hall.url + "/alerts")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Alerts")).to_be_visible()
    page.clock.fast_forward(10_000)
    expect(page.get_by_role("alert")).to_contain_text("The connection to the server is broken since")


@pytest.mark.parametrize(("width", "theme"), [(768, "light"), pytest.param(1440, "dark", marks=at_length)])
def test_pages_are_accessible_light_and_complain_of_nothing(history, start, visitor, width, theme) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    history.create()
    hall = start()
    found = hall.alert("cam-1", severity=Severity.CRITICAL)
    hall.alert("cam-2")
    for number in range(10):
        for camera in ("cam-1", "cam-2"):
            hall.verdict(camera, number, Verdict.DEFECT if camera == "cam-1" else Verdict.REVIEW)
    who = visitor(hall, width=width, height=1024, theme=theme)
    pages = ["/login", "/", "/alerts", f"/alerts/{found.alert_id}"]
    ready = [".card", "li[data-camera]", "li.alert", "#facts dd"]
    for path, mark in zip(pages, ready, strict=True):
        if path == "/":
            who.log_in()
        page = who.page
        who.weights.clear()
        page.goto(hall.url + path)
        page.locator(mark).first.wait_for()
        page.wait_for_timeout(300)
        faults = axe.run(page).response["violations"]
        grave = [
            f"{f['id']}: {n['html']}" for f in faults if f["impact"] in ("serious", "critical") for n in f["nodes"]
        ]
        assert not grave, path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} scrolls sideways"
        small = page.locator("main button:visible, main select:visible, main a.tile:visible").evaluate_all(
            "all => all.filter(e => e.getBoundingClientRect().height < 44).map(e => e.outerHTML)"
        )
        assert not small, path
        assert 0 < sum(who.weights.values()) <= 500_000, path
    # the alert's frame is not in any table yet, and the page said so
    assert [said for said in who.complaints if "404" not in said] == []


@at_length
def test_a_page_that_fails_says_so_in_a_sentence(hall, visitor) -> None:
    page = visitor(hall).log_in()
    page.goto(hall.url + "/alerts/not-an-id")
    expect(page.get_by_role("heading", name="Unprocessable")).to_be_visible()
    expect(page.get_by_role("link", name="Try again")).to_be_visible()
