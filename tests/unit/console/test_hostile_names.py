"""Names made to break out of what they are put into: they come back as they went in, and lead nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console.commands import app
from console.feed import save_picture
from console.quality import judge
from console.tables import open_history
from console.web.pages import _environment
from sightline import codec, samples
from sightline.contracts import Alert, DetectorRef, Inspection, Verdict
from sightline.errors import FrameError
from sightline.file_names import file_name

NAMES = [
    "../../../etc/cron.d/x",
    "..",
    "/etc/passwd",
    "a'; DROP TABLE inspections; --",
    "' OR 1=1 --",
    "\"; SELECT * FROM read_csv('/etc/passwd'); --",
    "$product ${jndi:ldap://x} {{ 7 * 7 }} {% raw %} %s {0.__class__}",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "[bold red]x[/] \x1b[2J\x1b]0;x\x07",
    "line\nbreak\r\nSet-Cookie: a=b",
    "nul\0byte",
    "\u202egnp.exe",
    "x" * 5000,
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_an_event_comes_back_with_the_name_that_it_had(name: str) -> None:
    ref = DetectorRef(name=name, version=name, digest=name)
    inspection = replace(samples.inspection(name, 1), product=name, line=name, label=name, detector=ref)
    assert codec.decode(Inspection, codec.encode(inspection)) == inspection
    frame = replace(samples.frame(), camera=name, line=name, product=name)
    try:
        assert codec.frame_from_record(frame.jpeg, codec.frame_headers(frame)) == frame
    except FrameError:
        assert len(name) > 100 or not name.isprintable()  # refused as a name at all


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_picture_of_an_alert_stays_in_its_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    alert: Alert = replace(samples.alert(), camera=name, alert_id=name, thumbnail=b"jpeg")
    saved = save_picture(alert, folder)
    assert saved is not None
    assert saved.resolve().parent == folder.resolve()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [saved]
    assert (folder / file_name(name)).resolve().parent == folder.resolve()


def test_a_name_is_a_value_in_sql_and_plain_text_on_a_screen(history) -> None:
    names = [name for name in NAMES if "\0" not in name]
    history.write(
        *(
            replace(
                samples.inspection(name, number, verdict=Verdict.OK, label="good"),
                product=name,
                detector=DetectorRef(name=name, version="1", digest="d"),
            )
            for number, name in enumerate(names)
        )
    )
    read = open_history(history.settings)
    for name in names:
        assert [scores.group for scores in judge(read, product=name).products] == [name]
    shown = CliRunner().invoke(app, ["report", "--root", history.settings.root])
    assert shown.exit_code == 0
    assert "\x1b]0" not in shown.output
    assert "\x07" not in shown.output


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_page_shows_a_name_and_runs_none_of_it(name: str) -> None:
    page = _environment().from_string('<a title="{{ name }}">{{ name }}</a>').render(name=name)
    inside = page.removeprefix('<a title="').removesuffix("</a>")
    assert not set("<>") & set(inside.replace('">', "", 1))
    assert inside.count('"') == 1
