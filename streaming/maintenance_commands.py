"""The command `sightline optimize`: settled days of the tables put in order."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def optimize(
    table: Annotated[list[str] | None, typer.Option(help="Only this table; may be given several times.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Days of one table at most, the newest first.")] = None,
    file_mb: Annotated[int | None, typer.Option(min=1, help="Size that files are brought to.")] = None,
) -> None:
    """Put settled days of the tables in order: few files of a good size, each with a few cameras.

    `sightline history` does this by itself every six hours. This does it now, for example where `[maintenance] enabled`
    is false. A day is settled two hours after its end (UTC). What is in order is left alone, so it may be run at any
    time; on an object store whose commits are safe in one process only (`s3a://` without a lock table), stop history
    first. Old files stay for a week, then history removes them.

    Example: `sightline optimize --table inspections --days 30`

    Settings: `[maintenance]`, `[tables]`, `[spark]`.
    """
    from infra.spark import build_session
    from sightline.errors import TableError
    from sightline.settings import TableSettings
    from streaming import maintenance
    from streaming.tables import GOLD, TABLES

    known = (*TABLES, *GOLD)
    for name in table or ():
        if name not in known:
            raise TableError(f"there is no table {name!r}; there are {', '.join(known)}")
    settings = maintenance.MaintenanceSettings.load(days_per_run=days, file_mb=file_mb)
    spark = build_session("sightline-optimize")
    count = 0
    try:
        for done in maintenance.optimize(spark, TableSettings.load(), settings, table or known):
            count += 1
            typer.echo(
                f"{done.table} {done.day}: {done.files_before} files to {done.files_after}, {done.bytes_after:,} bytes"
            )
    finally:
        spark.stop()
    typer.echo(f"{count} days put in order" if count else "all settled days are in order")
