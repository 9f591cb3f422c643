"""The commands of this room under `sightline`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from sightline.settings import KafkaRole

app = typer.Typer()

BOOTSTRAP_HELP = "Address of the Kafka to use; by default `[kafka] bootstrap`."


@app.command(rich_help_panel="Infrastructure")
def broker(
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 picks a free one, the last one if free.")
    ] = None,
    heap: Annotated[str | None, typer.Option(help="Memory for Kafka's Java heap, such as `512m` or `2g`.")] = None,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop a broker that was left running from this run folder.")
    ] = False,
    secure: Annotated[
        bool | None, typer.Option("--secure", help="TLS, a user for each role, and nothing more than it needs.")
    ] = None,
) -> None:
    """Run a real Kafka broker here until Ctrl-C, with all topics created.

    It keeps its messages in `run/kafka` and notes its address in `run/sightline.toml`, where every other command finds
    it: start it in one terminal, then use `sightline` in another.

    Examples:

    `sightline broker`

    `sightline broker --port 9092`

    `SIGHTLINE_BROKER_HOST=192.0.2.7 sightline broker --secure --port 9092` for cameras on other hosts

    `sightline broker --stop`
    """
    import signal
    from threading import Event

    from infra.broker import BrokerSettings, EmbeddedBroker
    from infra.deployment import open_up
    from sightline.errors import BrokerError

    kafka = EmbeddedBroker(BrokerSettings.load(port=port, heap=heap, secure=secure))
    if stop:
        typer.echo("stopped" if kafka.stop_leftover() else f"no broker runs from {kafka.folder}")
        return
    asked = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    typer.echo("starting Kafka, some seconds …")
    with kafka:
        endpoint, report = open_up(kafka)
        typer.echo(f"Kafka serves on {kafka.bootstrap} (noted in {endpoint}); log: {kafka.log_file}")
        typer.echo(f"topics: {', '.join((*report.created, *report.present))}")
        typer.echo("Ctrl-C stops it")
        while not asked.wait(1):
            if kafka.pid is None:
                raise BrokerError(f"Kafka ended by itself; see {kafka.log_file}")
        typer.echo("stopping Kafka")


@app.command(rich_help_panel="Infrastructure")
def topics(bootstrap: Annotated[str | None, typer.Option(help=BOOTSTRAP_HELP)] = None) -> None:
    """Create the topics that are missing and check the settings of those that exist.

    Safe to repeat. Leaves with an error, naming topic, setting and remedy, when a topic would break the pipeline: too
    few bytes for a frame, another number of partitions, another clean-up policy. Retention is yours to change.

    Examples:

    `sightline topics`

    `sightline topics --bootstrap kafka.example.com:9092`

    `SIGHTLINE_KAFKA_REPLICATION=3 SIGHTLINE_KAFKA_PARTITIONS=12 sightline topics`
    """
    from rich.console import Console
    from rich.table import Table

    from infra.topics import TopicSettings, ensure_topics, plan
    from sightline.settings import KafkaSettings

    kafka, kept = KafkaSettings.load(bootstrap=bootstrap).for_role("admin"), TopicSettings.load()
    report = ensure_topics(kafka, kept)
    table = Table("topic", "parts", "clean-up", "kept in each partition", "", box=None)
    for topic in plan(kafka, kept):
        state = "created" if topic.name in report.created else "fits"
        table.add_row(topic.name, str(topic.partitions), topic.config["cleanup.policy"], topic.kept, state)
    Console().print(table)


@app.command(rich_help_panel="Infrastructure")
def acls(
    role: Annotated[KafkaRole | None, typer.Option(help="Only this role.")] = None,
    user: Annotated[
        str | None, typer.Option(help="The user who gets the role; by default it is called like the role.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare with what the broker has.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Grant at the broker what is missing.")] = False,
    bootstrap: Annotated[str | None, typer.Option(help=BOOTSTRAP_HELP)] = None,
) -> None:
    """Print what each role may do in Kafka, compare it with the broker, or grant it.

    Safe to repeat; takes no right away. `--check` and `--apply` connect as the admin of `[kafka.roles.admin]`. With
    `--check` it leaves with 1 when a right is missing.

    Examples:

    `sightline acls`

    `sightline acls --role camera --user camera-north --apply`
    """
    from infra.acls import ensure_acls
    from infra.acls_table import show_reports, show_table
    from sightline.errors import SettingsError
    from sightline.kafka_roles import GRANTED_ROLES
    from sightline.settings import KafkaSettings

    chosen = [one for one in GRANTED_ROLES if role in (None, one)]
    if user and len(chosen) != 1:
        raise SettingsError(f"--user {user!r} needs one --role, the one that it gets")
    kafka = KafkaSettings.load(bootstrap=bootstrap)
    if not (check or apply):
        show_table(chosen, kafka)
        return
    users = {user or kafka.user_of(one): one for one in chosen}
    reports = ensure_acls(kafka.for_role("admin"), users, apply=apply)
    show_reports(reports, applied=apply)
    if not apply and any(report.missing for report in reports):
        raise typer.Exit(1)


@app.command("kafka-user", rich_help_panel="Infrastructure")
def kafka_user(
    name: Annotated[str, typer.Argument(help="The user, such as `camera-north`.")],
    role: Annotated[KafkaRole | None, typer.Option(help="What it may do.")] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="Its password; without such a file, one is made.", metavar="FILE")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take its password and rights away.")] = False,
    bootstrap: Annotated[str | None, typer.Option(help=BOOTSTRAP_HELP)] = None,
) -> None:
    """Make a user of Kafka with a role, or remove one.

    The password (SCRAM) lies in a file that only you can read, by default `run/kafka-users/NAME.password`. Called again
    with another file, it changes the password. Connects as the admin of `[kafka.roles.admin]`.

    Examples:

    `sightline kafka-user camera-north --role camera`

    `sightline kafka-user camera-north --remove`
    """
    from infra.acls import ensure_acls
    from infra.kafka_users import password_in, remove_user, set_passwords
    from sightline.errors import SettingsError
    from sightline.settings import KafkaSettings, run_folder

    admin = KafkaSettings.load(bootstrap=bootstrap).for_role("admin")
    if remove:
        remove_user(admin, name)
        typer.echo(f"{name} is removed; connections that it has open stay until they end")
        return
    if role is None:
        raise SettingsError("--role says what the user may do; `sightline acls` lists the roles")
    file = password_file or run_folder() / "kafka-users" / f"{quote(name, safe='')}.password"
    set_passwords(admin, {name: password_in(file)})
    ensure_acls(admin, {name: role}, apply=True)
    typer.echo(f"user {name}, role {role}; its password is in {file}. On its host, in sightline.toml:\n")
    ca = 'ca_file = "ca.pem"\n' if admin.ca_file else ""
    typer.echo(
        f'[kafka]\nbootstrap = "{admin.bootstrap}"\nsecurity_protocol = "{_password_protocol(admin.encrypted)}"\n{ca}'
        f'sasl_username = "{name}"\nsasl_password_file = "{file.name}"'
    )


def _password_protocol(encrypted: bool) -> str:
    return "SASL_SSL" if encrypted else "SASL_PLAINTEXT"


@app.command(rich_help_panel="Infrastructure")
def jars(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[spark|broker]...", help="Which jars; all by default.")
    ] = None,
) -> None:
    """Fetch the jars that Spark and the embedded broker need (70 MB), unless they are here already.

    Then run both once and keep the classes that Java loads (270 MB), so that they start in little more than half the
    time. What is fetched is written in `infra/ivy.xml`; the jars lie with the Python environment. A mirror of your own
    is named in Ivy's usual place, `~/.ivy2/ivysettings.xml`.

    Examples:

    `sightline jars`

    `sightline jars spark`
    """
    from infra.jars import configurations, jar_folder, missing, resolve
    from infra.java import find_java
    from infra.shared_classes import keep, lacking
    from sightline.errors import PrerequisiteError

    chosen = configurations(names or [])
    if wanted := missing(chosen):
        typer.echo(f"looking up the jars for {' and '.join(wanted)}, then fetching them: 70 MB in all, about a minute")
    found = resolve(chosen, progress=lambda jar: typer.echo(f"  {jar}"))
    typer.echo(f"{len(found)} jars in {jar_folder()}")
    if unkept := lacking(chosen, find_java()):
        typer.echo(f"running {' and '.join(unkept)} once, so that later starts are shorter: a minute or two")
        try:
            keep(unkept)
        except PrerequisiteError as error:
            typer.echo(f"{error}\neverything works without them, and starts slower", err=True)


@app.command(rich_help_panel="Infrastructure")
def demo(
    minutes: Annotated[float | None, typer.Option(help="Stop after so many minutes; by default at Ctrl-C.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="Learn from DIR/train/good, stream DIR/test/* once.", metavar="DIR")
    ] = None,
    video: Annotated[
        Path | None, typer.Option(help="Learn from the first frames of a video, then watch it.", metavar="FILE")
    ] = None,
    camera: Annotated[
        int | None, typer.Option(help="Learn from the first frames of USB camera N, then watch it.", metavar="N")
    ] = None,
    product: Annotated[str, typer.Option(help="Product of the simulated line.")] = "bottle_cap",
    cameras: Annotated[int, typer.Option(min=1, max=64, help="Cameras on a simulated line or an image folder.")] = 4,
    fps: Annotated[float, typer.Option(min=0.01, help="Frames per second of each camera.")] = 5.0,
    retrain: Annotated[bool, typer.Option("--retrain", help="Train anew, though the registry has a detector.")] = False,
    kafka: Annotated[
        str | None,
        typer.Option(help="Use the Kafka at this address in place of the embedded one.", metavar="HOST:PORT"),
    ] = None,
    pages: Annotated[bool, typer.Option(help="Serve the console's pages on 127.0.0.1.")] = True,
) -> None:
    """Run all of Sightline on this machine: cameras, Kafka, Spark, detector, alerts, history.

    Trains a detector from good frames, starts every part, shows the line until Ctrl-C, then drains it, proves that
    every frame is accounted for and stops. A second run goes on where the first one stopped. Leaves with 0 when the
    account is clean.

    Examples:

    `sightline demo --minutes 2`

    `sightline demo --images photos` for photos/train/good, photos/test/good and photos/test/KIND

    `sightline demo --video line.mp4 --fps 10`
    """
    from infra.demo import Demo
    from infra.lines import choose

    line = choose(images=images, video=video, camera=camera, product=product, cameras=cameras, fps=fps)
    raise typer.Exit(Demo(line, minutes=minutes, retrain=retrain, outside_kafka=kafka, pages=pages).run())


@app.command(rich_help_panel="Infrastructure")
def doctor(
    json: Annotated[bool, typer.Option("--json", help="The findings as one JSON object.")] = False,
) -> None:
    """Check this deployment, and say what to do about each fault.

    Looks at Java, packages, jars, ports, the broker, its topics and rights, room on disks, the registry and its
    champions, tables, open files, memory and clocks. It changes nothing. Settings that do not hold are faults too.

    Exit code: 0 all is well; 1 something deserves a look; 2 something will not work.

    Examples:

    `sightline doctor`

    `sightline doctor --json | jq '.findings[] | select(.state != "ok")'`
    """
    from rich.console import Console

    from infra.doctor_report import as_json, show
    from sightline.diagnosis import EXIT_CODES, all_checks, examine, worst

    console = Console(highlight=False, markup=False, emoji=False)
    if json:
        findings = list(examine(all_checks()))
        typer.echo(as_json(findings))
    else:
        with console.status("looking at this deployment"):
            findings = list(examine(all_checks()))
        show(findings, console)
    raise typer.Exit(EXIT_CODES[worst(findings)])


@app.command(rich_help_panel="Infrastructure")
def metrics() -> None:
    """List every metric that Prometheus finds, as the Markdown of docs/observability.md."""
    from infra.metric_tables import markdown

    typer.echo(markdown())
