"""`sightline shadow`: champion and challenger on a screen, and as JSON."""

from __future__ import annotations

from typing import Any

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from console.agreement import Agreement, Differences, compare
from console.output import Terminal, printable, reader_may_leave, terminal, write_line
from console.quality import Scores
from console.report import moment
from console.tables import open_history
from sightline.contracts import Verdict
from sightline.settings import TableSettings

_SHOWN = 5


def run(
    tables: TableSettings,
    product: str,
    *,
    since: str | None,
    champion: str | None,
    challenger: str | None,
    json: bool,
) -> None:
    """Compare and print."""
    start = moment(since) if since else None
    found = compare(open_history(tables), product, since=start, champion=champion, challenger=challenger)
    if json:
        with reader_may_leave():
            write_line(msgspec.json.encode(as_json(found)))
    else:
        show(found, terminal())


def as_json(found: Agreement) -> dict[str, Any]:
    """The comparison as plain values."""
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain | {"agreement": found.agreement}


def show(found: Agreement, out: Terminal) -> None:
    """Verdicts against each other, differences, who was right, and what is missing."""
    agreement = "–" if found.agreement is None else f"{found.agreement:.2%}"
    out.print(
        Text(f"{printable(found.product)}: ", "bold").append(
            f"{found.frames:,} frames judged by champion {printable(found.champion)} and challenger "
            f"{printable(found.challenger)}, the same verdict for {agreement}",
            "not bold",
        )
    )
    out.print(_verdicts(found), "", sep="\n")
    _show_differences("only the champion calls a defect", found.champion_only, out)
    _show_differences("only the challenger calls a defect", found.challenger_only, out)
    _show_truth(found, out)
    ranks, line = (_measure(value) for value in (found.rank_correlation, found.correlation))
    took = "" if found.milliseconds is None else f"; the challenger took {found.milliseconds:.1f} ms a frame"
    out.print(f"scores: rank correlation {ranks}, linear {line}{took}")
    if found.failures.frames:
        out.print(f"the challenger failed on {found.failures.frames:,} frames:", style="bold red")
        for error in found.failures.errors[:_SHOWN]:
            out.print(f"    {printable(error)}")
    for pair in found.others:
        out.print(
            f"also there: champion {printable(pair.champion)} with challenger {printable(pair.challenger)}, "
            f"{pair.frames:,} frames (--champion, --challenger)",
            style="dim",
        )


def _verdicts(found: Agreement) -> Table:
    table = _table("champion", *(f"challenger {verdict.value}" for verdict in Verdict))
    for one in Verdict:
        counts = [
            Text(f"{count:,}", "green" if one.value == other else "red" if "defect" in (one.value, other) else "yellow")
            if count
            else Text("·", "dim")
            for other, count in found.verdicts[one.value].items()
        ]
        table.add_row(one.value, *counts)
    return table


def _show_differences(title: str, differences: Differences, out: Terminal) -> None:
    out.print(f"{title}: {differences.frames:,}", style="bold" if differences.frames else "dim")
    for one in differences.examples[:_SHOWN]:
        truth = "truth unknown" if one.truth is None else f"truly {printable(one.truth)}"
        out.print(
            f"    {printable(one.camera)} {one.sequence}: champion {one.champion_score:.4g}, "
            f"challenger {one.challenger_score:.4g}, {truth}"
        )


def _show_truth(found: Agreement, out: Terminal) -> None:
    if found.truth is None:
        out.print("no frame of these has a label or an operator's answer: nobody knows who was right", style="dim")
        return
    table = _table("where the truth is known", "missed", "false alarms", "AUROC", "F1", "precision", "recall")
    for scores in (found.truth.champion, found.truth.challenger):
        table.add_row(scores.group, *_measures(scores))
    out.print("", table, sep="\n")
    out.print(
        f"known by label {found.truth.by_label:,}, by an operator's answer {found.truth.by_operator:,}; operators "
        "answer the champion's alerts alone",
        style="dim",
    )


def _measures(scores: Scores) -> list[str]:
    missed = scores.defective.total - scores.defective.defect
    measures = (scores.auroc, scores.f1, scores.precision, scores.recall)
    return [f"{missed:,}", f"{scores.good.defect:,}", *map(_measure, measures)]


def _table(first: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(first, no_wrap=True, overflow="ellipsis")
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _measure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
