"""The findings of `sightline doctor` as a table for people and as JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sightline.diagnosis import Finding, State, worst

STYLES = {State.OK: "green", State.WARNING: "bold yellow", State.FAULT: "bold red"}


def show(findings: Sequence[Finding], console: Console) -> None:
    """One row a finding; below it what to do, and at the end how many there are of each state."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("state", no_wrap=True)
    table.add_column("what", max_width=24)
    table.add_column("found", ratio=1, overflow="fold")
    for finding in findings:
        found = Text(finding.found)
        if finding.remedy:
            found.append(f"\n→ {finding.remedy}", style="bold")
        table.add_row(Text(finding.state.value, style=STYLES[finding.state]), Text(finding.subject), found)
    console.print(table)
    states = [finding.state for finding in findings]
    counts = [f"{states.count(state)} {state.value}" for state in State if states.count(state)]
    console.print(Text(", ".join(counts), style=STYLES[worst(findings)]))


def as_json(findings: Sequence[Finding]) -> str:
    """One object: the worst state, and every finding."""
    return json.dumps({"state": worst(findings), "findings": [asdict(one) for one in findings]}, indent=2)
