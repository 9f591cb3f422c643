"""The commands of this room under `sightline`."""

from __future__ import annotations

import typer

from streaming import batch_commands, dead_letter_commands, drift_commands, ingest_commands, maintenance_commands

app = typer.Typer(help="The processes between the cameras and the tables.", no_args_is_help=True)
app.add_typer(batch_commands.app)
app.add_typer(ingest_commands.app)
app.add_typer(drift_commands.app)
app.add_typer(dead_letter_commands.app)
app.add_typer(maintenance_commands.app)


@app.command()
def score() -> None:
    """Judge frames: read the topic `frames`, write verdicts to `inspections`.

    Frames that cannot be judged go to `frames.dead-letter` with the reason, pictures worth keeping to `frames.archive`.
    Each product is judged by the detector with the alias `champion` in the registry; a changed alias is picked up
    within seconds, without a restart.

    Runs until Ctrl-C or SIGTERM. It may be killed and started again at any time: verdicts that it repeats have the
    same ids, and are counted once further on.

    Settings: `[score]`, `[kafka]`, `[registry]`, `[spark]` in sightline.toml, or SIGHTLINE_SCORE_BACKEND and so on.
    """
    from streaming.score import main

    main()


@app.command()
def incidents() -> None:
    """Fold verdicts into alerts: read `inspections`, write one alert per incident to `alerts`.

    An incident opens with 2 defects in 5 frames, is continued rather than repeated while it lasts, and closes after 20
    good frames or 30 seconds without any. All of this is policy: see `[alerts]`.

    Runs until Ctrl-C or SIGTERM. Start it several times to share the cameras; whatever is killed, no incident is told
    twice.

    Settings: `[alerts]` (the policy), `[incidents]`, `[kafka]`; for example SIGHTLINE_ALERTS_DEFECTS=1 to be told of
    each defective part.
    """
    from streaming.incidents import main

    main()


@app.command()
def history(
    until_caught_up: bool = typer.Option(
        False,
        "--until-caught-up",
        "--once",
        help="Move what the topics hold at this moment into the tables, then exit.",
    ),
) -> None:
    """Keep the history: move every topic into its Delta table, each record once.

    Tables: inspections, shadow_inspections, alerts, operator_actions, camera_events, dead_letters, frame_archive. New
    rows appear every 10 seconds (`[history] trigger_seconds`); look at them with `sightline query`.

    Runs until Ctrl-C or SIGTERM, and finishes the batch that it is writing. While the table store is away it tries
    again, and loses nothing.

    Several jobs may share the tables (`[history] only`), each table being one job's.

    Settings: `[history]`, `[tables]` (where they lie), `[kafka]`, `[spark]`.
    """
    from streaming.history import main

    main(until_caught_up)
