"""What `sightline doctor` asks of the registry: whether it answers, and whether each champion is what it says."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from sightline.diagnosis import Finding, failed, fine, warning
from sightline.errors import DetectorError, RegistryError
from sightline.settings import RegistrySettings


def champions() -> Iterator[Finding]:
    """Fetches every champion, which compares its digest, loads it, and lets it judge its own self-check."""
    from models import registry

    settings = RegistrySettings.load()
    try:
        found = registry.champions(settings)
    except RegistryError as error:
        yield failed("registry", error)
        return
    yield fine(
        "registry", f"{settings.tracking_uri}: {len(found)} product{'' if len(found) == 1 else 's'} with a champion"
    )
    if not found:
        yield warning("champions", "no product has one: every frame would be a dead letter", "`sightline train`")
    for product, detector in sorted(found.items()):
        yield _champion(product, detector, settings)


def _champion(product: str, detector: object, settings: RegistrySettings) -> Finding:
    from models import registry
    from models.runtime.scorer import load_scorer

    subject = f"champion of {product}"
    assert isinstance(detector, registry.RegisteredDetector)
    with tempfile.TemporaryDirectory(prefix="sightline-doctor-") as folder:
        try:
            scorer = load_scorer(registry.fetch(detector, Path(folder) / "bundle", settings))
        except (DetectorError, RegistryError) as error:
            return failed(subject, error)
    return fine(subject, f"version {detector.version}, {scorer.card.method}: loads, digest fits")


CHECKS = (champions,)
