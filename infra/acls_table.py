"""The rights of the roles, for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from infra.acls import AclReport
from sightline.kafka_roles import Grant, grants
from sightline.settings import KafkaRole, KafkaSettings


def show_table(roles: Sequence[KafkaRole], kafka: KafkaSettings) -> None:
    """Print what each role may do, without asking a broker."""
    table = Table("role", "may", "", "for", box=None)
    for role in roles:
        for grant in grants(role, kafka):
            table.add_row(role, *_words(grant), grant.why)
    Console().print(table)


def show_reports(reports: Sequence[AclReport], *, applied: bool) -> None:
    """Print what the broker has of the rights of each user, and what was granted if `applied`."""
    table = Table("user", "role", "may", "", "", box=None)
    for report in reports:
        for grant in (*report.present, *report.missing):
            state = "there" if grant in report.present else "granted" if applied else "missing"
            table.add_row(report.user, report.role, *_words(grant), state)
        for other in report.others:
            table.add_row(report.user, report.role, other, "", "not of its role")
    Console().print(table)


def _words(grant: Grant) -> tuple[str, str]:
    name = f"{grant.name}*" if grant.prefixed else grant.name
    return " and ".join(grant.operations), f"{grant.resource} {name}"
