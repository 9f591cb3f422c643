"""`sightline report`: the quality of the verdicts on a screen, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from console.output import printable, reader_may_leave, terminal, write_line
from console.quality import KindRecall, Report, Scores, judge
from console.tables import open_history
from sightline.errors import SettingsError
from sightline.settings import TableSettings


def run(tables: TableSettings, *, product: str | None, since: str | None, json: bool) -> None:
    """Judge the verdicts and print."""
    report = judge(open_history(tables), product=product, since=moment(since) if since else None)
    if json:
        with reader_may_leave():
            write_line(msgspec.json.encode(as_json(report)))
    else:
        show(report)


def moment(text: str) -> datetime:
    """An RFC 3339 time, or a date; UTC where no zone is given. Raises SettingsError for anything else."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            f"--since must be a date or an RFC 3339 time such as 2026-03-02T06:30Z, not {text!r}"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def as_json(report: Report) -> dict[str, Any]:
    """The report as plain values."""
    plain: dict[str, Any] = msgspec.to_builtins(report)
    for kind, recall in zip(plain["kinds"], report.kinds, strict=True):
        kind["recall"] = recall.recall
    return plain


def show(report: Report) -> None:
    """The confusion matrix, the measures, then where they come from."""
    out = terminal()
    out.print(_confusion(report.overall), "", _measures(report), "", sep="\n")
    if report.kinds:
        out.print(_kinds(report.kinds), "", sep="\n")
    out.print(f"judged by {', '.join(map(printable, report.detectors))}", style="dim")
    if len(report.products) > 1:
        out.print("AUROC over several products is the mean of their own, weighted by frames", style="dim")
    if report.unlabelled:
        out.print(f"{report.unlabelled:,} inspections without a label are left out", style="dim")


def _confusion(scores: Scores) -> Table:
    table = _table(f"{scores.frames:,} labelled frames", "truth", "said ok", "said review", "said defect", "in all")
    for name, row, right in (("good", scores.good, "ok"), ("defective", scores.defective, "defect")):
        cells = {"ok": row.ok, "review": row.review, "defect": row.defect}
        styles = {
            verdict: "green" if verdict == right else "yellow" if verdict == "review" else "red" for verdict in cells
        }
        counts = [Text(f"{count:,}", styles[verdict] if count else "dim") for verdict, count in cells.items()]
        table.add_row(name, *counts, f"{row.total:,}")
    return table


def _measures(report: Report) -> Table:
    table = _table("", "", "frames", "AUROC", "F1", "precision", "recall", "review")
    groups: list[tuple[str, Scores]] = [("all", report.overall)]
    if len(report.products) > 1:
        groups += [(scores.group, scores) for scores in report.products]
    if len(report.cameras) > 1:
        groups += [(scores.group, scores) for scores in report.cameras]
    for name, scores in groups:
        measures = [_share(value) for value in (scores.auroc, scores.f1, scores.precision, scores.recall)]
        review = f"{scores.good.review + scores.defective.review:,}"
        table.add_row(Text(printable(name), "bold" if name == "all" else ""), f"{scores.frames:,}", *measures, review)
    return table


def _kinds(kinds: Sequence[KindRecall]) -> Table:
    table = _table("", "kind of defect", "frames", "found", "review", "missed", "recall")
    for kind in sorted(kinds, key=lambda kind: (kind.recall, kind.kind)):
        missed = kind.frames - kind.found - kind.review
        counts = (f"{count:,}" for count in (kind.frames, kind.found, kind.review, missed))
        table.add_row(printable(kind.kind), *counts, _share(kind.recall))
    return table


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    if title:
        table.title, table.title_justify = title, "left"
    table.add_column(first, no_wrap=True, overflow="ellipsis")
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
