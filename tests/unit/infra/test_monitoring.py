"""Dashboards and alert rules ask only for what the processes tell, and fire on what they must."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from sightline.metrics import PORTS, all_definitions

INFRA = Path(__file__).resolve().parents[3] / "infra"
DASHBOARDS = sorted((INFRA / "grafana").glob("*.json"))
RULES = INFRA / "prometheus" / "rules.yml"
KNOWN = {definition.name: definition for group in all_definitions().values() for definition in group}
TARGET = {"process", "job", "instance"}
"""Labels that Prometheus gives every series."""
FOREIGN = {"up", "process_resident_memory_bytes", "process_cpu_seconds_total", "ALERTS"}
"""Of Prometheus itself and of prometheus_client."""


class Asked(NamedTuple):
    where: str
    expr: str
    shown: str


def panels() -> Iterator[Asked]:
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                yield Asked(f"{path.name}: {panel['title']}", target["expr"], target["legendFormat"])
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()  # type: ignore[union-attr]
                yield Asked(f"{path.name}: ${variable['name']}", f"sum by ({label}) ({name})", "")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


ASKED = [
    *panels(),
    *(Asked(f"rules.yml: {rule['alert']}", rule["expr"], str(rule["annotations"])) for rule in rules()),
]


def family(name: str) -> str:
    """The metric that a series belongs to."""
    return name if name in KNOWN else re.sub(r"_(bucket|sum|count)$", "", name)


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked.where)
def test_it_asks_for_metrics_and_labels_that_there_are(asked: Asked) -> None:
    bare = re.sub(r'"[^"]*"', '""', asked.expr)
    series = {name for name in re.findall(r"\b[a-zA-Z_]\w*_\w+\b|\bup\b", bare) if not _is_function(name)}
    assert series
    unknown = {name for name in series - FOREIGN if family(name) not in KNOWN}
    assert not unknown
    for name in series - FOREIGN:
        kind = KNOWN[family(name)].kind
        assert (name != family(name)) == (kind == "histogram"), f"{name} is a {kind}"
    there = TARGET.union({"le"}, *(KNOWN[family(name)].labels for name in series - FOREIGN))
    grouped = {label.strip() for by in re.findall(r"(?:by|on) \(([^)]*)\)", bare) for label in by.split(",")}
    matched = {label for match in re.findall(r"\{([^}]*)\}", bare) for label in re.findall(r"(\w+)\s*[=!]", match)}
    shown = set(re.findall(r"\{\{\s*\$?(?:labels\.)?(\w+)[^}]*\}\}", asked.shown)) - {"value"}
    assert (grouped | matched | shown) - {""} <= there


def _is_function(name: str) -> bool:
    return name in {"histogram_quantile", "__rate_interval", "max_over_time"}


def test_what_is_measured_is_shown_or_watched() -> None:
    asked = {family(name) for one in ASKED for name in re.findall(r"sightline_\w+", one.expr)}
    assert set(KNOWN) <= asked


def test_each_rule_says_how_bad_it_is_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical"), rule["alert"]
        assert rule["annotations"]["summary"] and rule["annotations"]["remedy"], rule["alert"]


def test_each_rule_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = yaml.safe_load((INFRA / "prometheus" / "rules_test.yml").read_text())["tests"]
    tested = [(one["alertname"], bool(one["exp_alerts"])) for case in cases for one in case["alert_rule_test"]]
    never_quiet = {"SightlineQueryDown", "SightlineQueryRestarts"}  # another query is quiet in the same case
    for rule in rules():
        assert (rule["alert"], True) in tested
        assert (rule["alert"], False) in tested or rule["alert"] in never_quiet


def test_the_processes_of_the_compose_file_are_all_scraped_at_their_ports() -> None:
    (job,) = yaml.safe_load((INFRA / "prometheus" / "compose.yml").read_text())["scrape_configs"]
    targets = {one["labels"]["process"]: one["targets"] for one in job["static_configs"]}
    services = {name: "console" if name == "api" else name for name in PORTS}
    assert targets == {process: [f"{service}:{PORTS[process]}"] for process, service in services.items()}
    assert set(services.values()) <= set(yaml.safe_load((INFRA.parent / "docker-compose.yml").read_text())["services"])


def test_panels_of_a_dashboard_have_ids_of_their_own_and_do_not_overlap() -> None:
    for path in DASHBOARDS:
        found = json.loads(path.read_text())["panels"]
        assert len({panel["id"] for panel in found}) == len(found)
        places: set[tuple[int, int]] = set()
        for panel in found:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & places, panel["title"]
            assert at["x"] + at["w"] <= 24
            places |= cells


def promtool(*arguments: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not on the PATH (Debian: apt-get install prometheus)")
    answer = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_rules_fire_as_their_cases_say() -> None:
    promtool("test", "rules", str(INFRA / "prometheus" / "rules_test.yml"))


@pytest.mark.parametrize("name", ["prometheus.yml", "compose.yml"])
def test_prometheus_takes_the_configuration(name: str) -> None:
    promtool("check", "config", str(INFRA / "prometheus" / name))


def test_prometheus_can_read_every_question_of_the_dashboards(tmp_path: Path) -> None:
    exprs = [asked.expr.replace("$__rate_interval", "5m").replace("$camera", ".*") for asked in panels()]
    file = tmp_path / "questions.yml"
    recorded = [{"record": f"question_{number}", "expr": expr} for number, expr in enumerate(exprs)]
    file.write_text(yaml.safe_dump({"groups": [{"name": "questions", "rules": recorded}]}))
    promtool("check", "rules", str(file))
