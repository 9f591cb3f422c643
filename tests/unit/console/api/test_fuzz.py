"""Schemathesis asks every endpoint what its document allows and what it does not: no fault, no answer of another shape.

A test run sends a few requests to each; `make fuzz-api` sends many.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable

from console.api.roles import Role
from sightline import samples

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed; `make setup` brings it")

EXAMPLES = int(os.environ.get("SIGHTLINE_TEST_FUZZ_EXAMPLES", "2"))
PATIENCE = 120.0
KNOWN = {
    "inspection_id": samples.inspection(sequence=1).inspection_id,
    "alert_id": samples.alert(sequence=1).alert_id,
    "product": "washer",
}


def test_no_endpoint_breaks_or_strays_from_its_document(deployment) -> None:
    # streams would go on, as long as the feed does
    deployment.services.feed.stop()
    key = deployment.key(Role.ADMIN)
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", deployment.app)
    faults, asked = {}, 0
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in schemathesis.GenerationMode:
            try:
                asked += 1
                _ask(operation.as_strategy(generation_mode=mode), key, mode is schemathesis.GenerationMode.POSITIVE)
            except (schemathesis.core.failures.FailureGroup, schemathesis.core.failures.Failure) as error:
                faults[f"{operation.label}, {mode.value}"] = str(error)
            except Unsatisfiable:
                continue  # without parameters there is nothing that could be wrong
    assert asked >= 50
    assert not faults, "\n\n".join(f"{where}: {what}" for where, what in faults.items())


def _ask(cases, key, known: bool) -> None:
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    @seed(1)
    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def ask(case) -> None:
        if known:
            # else hardly any request would come past "there is none"
            case.path_parameters, case.query = _known(case.path_parameters), _known(case.query)
        # no schema can say which cursors were given out, what a picture is, or which years are believed
        checks = [positive_data_acceptance]
        case.call_and_validate(headers=key, timeout=PATIENCE, excluded_checks=checks)

    ask()


def _known(values):
    return {name: KNOWN.get(name, value) for name, value in (values or {}).items()}
