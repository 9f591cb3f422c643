"""The page on observability lists the metrics that there are."""

from __future__ import annotations

from pathlib import Path

from infra.metric_tables import markdown
from sightline.metrics import PORTS, MetricsSettings

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "observability.md").read_text()


def test_the_page_ends_with_what_the_command_prints() -> None:
    assert PAGE.rstrip().endswith(markdown()), "write the page's end anew with `sightline metrics`"


def test_the_page_names_the_ports_and_the_bound() -> None:
    for process, port in PORTS.items():
        assert f"{process} {port}" in PAGE
    assert f"| `cameras` | {MetricsSettings.load().cameras} |" in PAGE
