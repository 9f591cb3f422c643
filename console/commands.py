"""The commands of this room under `sightline`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.api.commands import app as api
from console.mute_commands import app as mute
from console.notify.commands import app as notify
from sightline.contracts import Severity

app = typer.Typer()
app.add_typer(api)
app.add_typer(notify)
app.add_typer(mute)


@app.command()
def alerts(
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, thumbnails in base64.")] = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start with everything that the topic still holds.")
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="Start with the incidents that are open now.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Wait for more, or end once all that was there is shown.")
    ] = True,
    camera: Annotated[list[str] | None, typer.Option(help="Only this camera; may be given several times.")] = None,
    severity: Annotated[list[Severity] | None, typer.Option(help="Only this severity; may be repeated.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="End after this many.")] = None,
    save_pictures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="Write each incident's picture, heat map drawn in, to DIR."),
    ] = None,
    bootstrap: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Another broker than configured.")] = None,
) -> None:
    """Follow the alerts as they happen.

    One line is one change of an incident: opened, updated while it grows, closed. Only what is committed is shown,
    each revision once. Times are of this machine's zone; `--json` gives UTC.

    **Examples**

    `sightline alerts --open --save-pictures pictures`

    `sightline alerts --from-beginning --no-follow --json | jq .camera`
    """
    from console.follow import follow_alerts
    from sightline.settings import KafkaSettings
    from sightline.subscriber import AlertSubscriber

    if from_beginning and open_:
        raise typer.BadParameter("choose --from-beginning or --open")
    follow_alerts(
        lambda: AlertSubscriber(
            KafkaSettings.load(bootstrap=bootstrap).for_role("operator"),
            start="earliest" if from_beginning else "open" if open_ else "now",
            cameras=camera or (),
            severities=severity or (),
            connect_seconds=5.0,
        ),
        json=json,
        follow=follow,
        limit=limit,
        pictures=save_pictures,
    )


@app.command()
def query(
    sql: Annotated[str | None, typer.Argument(metavar="SQL", help="One statement; `-` or nothing reads stdin.")] = None,
    file: Annotated[Path | None, typer.Option(help="Read the statement from this file.")] = None,
    view: Annotated[
        str | None, typer.Option(metavar="NAME", help="Instead of SQL: a view or question of `sightline tables`.")
    ] = None,
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="NAME=VALUE", help="A parameter of the question; may be given several times."),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="All rows as CSV.")] = False,
    json: Annotated[bool, typer.Option("--json", help="All rows as JSON, one object a line.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many rows (50 in a table).")] = None,
    root: Annotated[str | None, typer.Option(metavar="FOLDER|URL", help="Other tables than configured.")] = None,
) -> None:
    """Ask the history in SQL, without Spark.

    DuckDB reads the Delta tables; times are UTC. A filter on `day` reads the files of those days only. It is safe to
    let others ask: SQL here can read these tables and nothing else. `sightline tables` lists tables, views, columns.

    **Examples**

    `sightline query "FROM defect_rate_by_hour"`

    `sightline query --view worst_cameras --with since=2026-03-02 --with only_line=line-1`

    `sightline query "SELECT camera, max(score) FROM inspections WHERE day = current_date GROUP BY camera"`

    `sightline query --csv < question.sql > answer.csv`
    """
    from console.ask import Form, query, read_sql
    from console.questions import sql_of
    from sightline.settings import TableSettings

    if csv and json:
        raise typer.BadParameter("choose --csv or --json")
    if view is not None and (sql is not None or file is not None):
        raise typer.BadParameter("choose SQL or --view")
    if view is None and with_:
        raise typer.BadParameter("--with gives parameters to --view")
    form = Form.CSV if csv else Form.JSON if json else Form.TABLE
    asked = read_sql(sql, file) if view is None else sql_of(view, with_ or [])
    query(TableSettings.load(root=root), asked, form, limit)


@app.command()
def tables(
    name: Annotated[str | None, typer.Argument(help="Show the columns of this table or view.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a table.")] = False,
    root: Annotated[str | None, typer.Option(metavar="FOLDER|URL", help="Other tables than configured.")] = None,
) -> None:
    """List the tables and views of the history, or the columns of one.

    **Examples**

    `sightline tables`

    `sightline tables inspections`
    """
    from console.ask import list_tables, show_columns, show_tables
    from console.output import reader_may_leave
    from console.rows import write_json
    from sightline.settings import TableSettings

    settings = TableSettings.load(root=root)
    with reader_may_leave():
        if name is not None:
            show_columns(settings, name)
        elif json:
            write_json(list_tables(settings))
        else:
            show_tables(settings)


@app.command()
def verify(
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Give this long to frames that are still on their way.")
    ] = 0.0,
    tables_only: Annotated[bool, typer.Option("--tables-only", help="Ask no broker, prove from the tables.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The accounts as one JSON object.")] = False,
    root: Annotated[str | None, typer.Option(metavar="FOLDER|URL", help="Other tables than configured.")] = None,
    bootstrap: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Another broker than configured.")] = None,
) -> None:
    """Prove that every captured frame is accounted for.

    Each camera numbers its frames from 0 without gaps. Every number must be found exactly once: inspected, a dead
    letter, or reported by its producer as dropped. What the `frames` topic holds and no table does is in flight.
    The tables are checked against each other too: one row an incident, a detector and threshold with every verdict,
    a kept picture of every defect.

    Exit code: 0 all is accounted for; 1 something is missing or double, and named; 3 nothing is wrong, but frames are
    still on their way.

    **Examples**

    `sightline verify --wait 60`

    `sightline verify --json | jq .problems`
    """
    from console.verdict import run
    from sightline.settings import KafkaSettings, TableSettings

    kafka = None if tables_only else KafkaSettings.load(bootstrap=bootstrap).for_role("engineer")
    raise typer.Exit(run(TableSettings.load(root=root), kafka, wait=wait, json=json))


@app.command()
def shadow(
    product: Annotated[str, typer.Argument(help="The product whose challenger scores beside its champion.")],
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only frames captured since this date or RFC 3339 time (UTC).")
    ] = None,
    champion: Annotated[str | None, typer.Option(metavar="VERSION", help="Another champion than the newest.")] = None,
    challenger: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Another challenger than the newest.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The comparison as one JSON object.")] = False,
    root: Annotated[str | None, typer.Option(metavar="FOLDER|URL", help="Other tables than configured.")] = None,
) -> None:
    """Compare champion and challenger on the frames that both have judged.

    With `[score] shadow_fraction` above 0 the challenger scores live beside the champion, and only the champion's
    verdict counts. This joins both: how often they agree, which defects only one of them sees, how right each was where
    a label or an operator's answer is known, how their scores go together, and what the challenger failed on.

    **Examples**

    `sightline shadow bottle_cap --since 2026-03-02`

    `sightline shadow bottle_cap --json | jq .challenger_only.frames`
    """
    from console.shadow import run
    from sightline.settings import TableSettings

    run(TableSettings.load(root=root), product, since=since, champion=champion, challenger=challenger, json=json)


@app.command()
def report(
    product: Annotated[str | None, typer.Option(help="Only frames of this product.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only frames captured since this date or RFC 3339 time (UTC).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The report as one JSON object.")] = False,
    root: Annotated[str | None, typer.Option(metavar="FOLDER|URL", help="Other tables than configured.")] = None,
) -> None:
    """Say how right the verdicts were, where the truth is known.

    Frames from labelled folders and from the simulator carry their truth as a label, which no detector sees: `good`, or
    a kind of defect. This compares it with the verdicts in the table `inspections`: confusion matrix, AUROC, F1,
    precision and recall, by camera and by kind of defect. Only `defect` counts as found; `review` is shown by itself.

    **Examples**

    `sightline report --product bottle_cap`

    `sightline report --since 2026-03-02 --json`
    """
    from console.report import run
    from sightline.settings import TableSettings

    run(TableSettings.load(root=root), product=product, since=since, json=json)


@app.command()
def status(
    json: Annotated[bool, typer.Option("--json", help="Everything as one JSON object.")] = False,
    root: Annotated[str | None, typer.Option(metavar="FOLDER|URL", help="Other tables than configured.")] = None,
    bootstrap: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Another broker than configured.")] = None,
) -> None:
    """Say what runs, how fast, and how fresh everything is.

    Processes of this run folder with their rate and lag, the last verdict of each camera, detectors in force, frames
    that wait, dead letters of the last hour, and when each table was last written. Takes some seconds, for the rates.

    Exit code: 0 when a process runs, 3 when none does.

    **Examples**

    `sightline status`

    `watch -n 5 sightline status`

    `sightline status --json | jq .cameras`
    """
    from console.status_view import run
    from sightline.settings import KafkaSettings, TableSettings

    raise typer.Exit(run(KafkaSettings.load(bootstrap=bootstrap), TableSettings.load(root=root), json=json))
