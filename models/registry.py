"""Detectors in MLflow's model registry: bundles in, champions out.

A product's detector is one registered model; each bundle is a version of it, with the digest as a tag; the alias
`champion` names the version that judges frames. mlflow is imported when a function needs it, never by importing this
module.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.runtime.card import BUNDLE_FILES, bundle_digest, load_card, save_card
from sightline.errors import DetectorError, RegistryError
from sightline.settings import RegistrySettings

log = logging.getLogger(__name__)

CHAMPION = "champion"
CHALLENGER = "challenger"
DIGEST_TAG = "sightline.digest"
PRODUCT_TAG = "sightline.product"
FORMER_TAG = "sightline.former_champions"
KEPT_BUNDLES = 3
"""Fetched bundles of a product that stay on disk, the one in use among them."""

_ARTIFACTS = "detector"
_PAGE = 100
_FETCHING = ".fetching-"
_DAY = 86_400.0
_FORMER = 20
"""Former champions that are remembered."""
_MESSAGE = 400
_CREDENTIALS = re.compile(r"//[^/@\s]+@")
_PRODUCT = re.compile(r"[^\W_][\w.+-]{0,99}")


class NoFormerChampionError(RegistryError):
    """A product has had one champion only: there is none to go back to."""


@dataclass(frozen=True, slots=True)
class RegisteredDetector:
    """One version in the registry; `digest` is what its bundle must hash to."""

    name: str
    product: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """What `sightline detectors` shows of one version; `metrics` and `params` are those of its training run."""

    detector: RegisteredDetector
    aliases: tuple[str, ...]
    created_at: datetime
    metrics: Mapping[str, float]
    params: Mapping[str, str]


def check_product(product: str) -> str:
    """`product` if it can name a registered model and a folder; raises DetectorError otherwise."""
    if not _PRODUCT.fullmatch(product):
        raise DetectorError(
            f"product is {product!r}, expected 1 to 100 letters, digits and . _ + - that start with a letter or digit"
        )
    return product


def log_and_register(
    folder: Path,
    settings: RegistrySettings,
    *,
    metrics: Mapping[str, float],
    params: Mapping[str, Any],
    alias: str | None = CHAMPION,
) -> RegisteredDetector:
    """Log the bundle in `folder` as a run with `metrics` and `params`, register it, and give it `alias`.

    The run's id is written on the card first, so the digest covers it. The alias moves last: a failure before that
    leaves the champion as it was. Raises RegistryError when the registry cannot be reached or refuses.
    """
    card = load_card(folder)

    def sign(run_id: str) -> str:
        save_card(replace(card, run_id=run_id), folder)
        return bundle_digest(folder)

    return register_version(
        folder,
        settings,
        name=card.name,
        product=card.product,
        sign=sign,
        metrics={"threshold": card.threshold, **metrics},
        params=params,
        alias=alias,
        served=True,
    )


def register_version(
    folder: Path,
    settings: RegistrySettings,
    *,
    name: str,
    product: str,
    sign: Callable[[str], str],
    metrics: Mapping[str, float],
    params: Mapping[str, Any],
    alias: str | None,
    history: Mapping[str, Sequence[float]] = MappingProxyType({}),
    served: bool = False,
) -> RegisteredDetector:
    """Log the files of `folder`, whatever kind of model they are, as a run, and register them as a version of `name`.

    `sign` gets the run's id and returns the digest under which the files are fetched; `history` is metric to its value
    at each step. `served` detectors can be loaded with `mlflow.pyfunc`, see `models.runtime.serving`. Raises
    RegistryError when the registry cannot be reached or refuses.
    """
    check_product(product)
    with connected(settings) as client:
        run = client.create_run(_experiment(client, settings), run_name=name)
        run_id = run.info.run_id
        try:
            digest = sign(run_id)
            for key, value in params.items():
                client.log_param(run_id, key, value)
            for key, value in metrics.items():
                client.log_metric(run_id, key, value)
            for key, values in history.items():
                for step, value in enumerate(values):
                    client.log_metric(run_id, key, value, step=step)
            client.log_artifacts(run_id, str(folder), _ARTIFACTS)
            if served:
                client.log_text(run_id, _served(run_id), f"{_ARTIFACTS}/MLmodel")
            _ensure_model(client, name, product)
            version = client.create_model_version(
                name,
                source=f"{run.info.artifact_uri}/{_ARTIFACTS}",
                run_id=run_id,
                tags={DIGEST_TAG: digest, PRODUCT_TAG: product},
            )
        except BaseException:
            client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id)
        if alias == CHAMPION:
            _crown(client, name, str(version.version))
        elif alias:
            client.set_registered_model_alias(name, alias, version.version)
    return RegisteredDetector(name, product, str(version.version), digest)


def register_bundle(folder: Path, settings: RegistrySettings, *, alias: str | None = None) -> RegisteredDetector:
    """Register a bundle that was made elsewhere, with what its card says; without `alias` nothing changes online."""
    card = load_card(folder)
    return log_and_register(
        folder, settings, metrics=card.metrics, params=card.parameters | {"method": card.method}, alias=alias
    )


def champions(settings: RegistrySettings) -> dict[str, RegisteredDetector]:
    """Product to champion, for every product that has one; raises RegistryError."""
    return named(CHAMPION, settings)


def named(alias: str, settings: RegistrySettings) -> dict[str, RegisteredDetector]:
    """Product to the version with this alias, for every product that has one; raises RegistryError."""
    found = {}
    with connected(settings) as client:
        for model in _models(client, settings):
            if alias not in model.aliases:
                continue
            version = client.get_model_version(model.name, model.aliases[alias])
            try:
                detector = _detector(version, settings)
            except DetectorError as error:  # one foreign model must not hide the others
                log.warning("%s passed over", alias, extra={"detector": model.name, "error": str(error)})
                continue
            found[detector.product] = detector
    return found


def entries(settings: RegistrySettings) -> list[RegistryEntry]:
    """Every version that Sightline registered, by name, the newest first (at most 100 each); raises RegistryError."""
    found = []
    with connected(settings) as client:
        for model in sorted(_models(client, settings), key=lambda model: str(model.name)):
            versions = client.search_model_versions(f"name = '{model.name}'", max_results=_PAGE)
            for version in sorted(versions, key=lambda version: -int(version.version)):
                if DIGEST_TAG not in version.tags:
                    continue
                named = tuple(alias for alias, number in model.aliases.items() if str(number) == str(version.version))
                run = client.get_run(version.run_id).data if version.run_id else None
                created = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
                metrics, params = (run.metrics, run.params) if run else ({}, {})
                found.append(RegistryEntry(_detector(version, settings), named, created, metrics, params))
    return found


def find(target: str, settings: RegistrySettings) -> RegisteredDetector:
    """The detector that `PRODUCT`, `PRODUCT@VERSION` or `PRODUCT@ALIAS` names; without either the champion.

    Raises RegistryError saying which there are.
    """
    product, _, wanted = target.partition("@")
    wanted = wanted or CHAMPION
    known = [entry for entry in entries(settings) if entry.detector.product == check_product(product)]
    for entry in known:
        if wanted == entry.detector.version or wanted in entry.aliases:
            return entry.detector
    there = ", ".join("@".join((product, name)) for entry in known for name in (entry.detector.version, *entry.aliases))
    raise RegistryError(
        f"no detector {product}@{wanted}: "
        + (f"there are {there}" if there else f"none is registered for {product!r}, and there is no such folder")
        + "; list all with `sightline detectors`"
    )


def set_champion(product: str, version: str, settings: RegistrySettings) -> RegisteredDetector:
    """Make `version` of a product's detector the champion; raises RegistryError when there is no such version."""
    name = settings.model_prefix + check_product(product)
    with connected(settings) as client:
        detector = _detector(client.get_model_version(name, version), settings)
        _crown(client, name, version)
    return detector


def roll_back(product: str, settings: RegistrySettings) -> RegisteredDetector:
    """Make the champion before this one champion again; raises NoFormerChampionError when there was none."""
    name = settings.model_prefix + check_product(product)
    with connected(settings) as client:
        former = _former(client.get_registered_model(name))
        if not former:
            raise NoFormerChampionError(
                f"{product} has had no other champion; choose a version with `sightline promote {product} VERSION`"
            )
        detector = _detector(client.get_model_version(name, former[-1]), settings)
        client.set_registered_model_alias(name, CHAMPION, former[-1])
        client.set_registered_model_tag(name, FORMER_TAG, ",".join(former[:-1]))
    return detector


def fetch(
    detector: RegisteredDetector,
    folder: Path,
    settings: RegistrySettings,
    *,
    digest_of: Callable[[Path], str] = bundle_digest,
    files: Sequence[str] = BUNDLE_FILES,
) -> Path:
    """The bundle of `detector` at `folder`, downloaded and verified, or as it lies there already.

    `folder` appears complete or not at all, and holds `files` alone. Raises DetectorError when they do not hash to the
    registered digest (they are removed), RegistryError when they cannot be had. `digest_of` and `files` are for bundles
    other than detectors'.
    """

    def download(temporary: Path) -> Path:
        with connected(settings) as client:
            from mlflow.artifacts import download_artifacts

            uri = client.get_model_version_download_uri(detector.name, detector.version)
            return Path(download_artifacts(uri, dst_path=str(temporary), tracking_uri=settings.tracking_uri))

    return place(detector, folder, download, digest_of=digest_of, files=files)


def place(
    detector: RegisteredDetector,
    folder: Path,
    download: Callable[[Path], Path],
    *,
    digest_of: Callable[[Path], str] = bundle_digest,
    files: Sequence[str] = BUNDLE_FILES,
) -> Path:
    """As `fetch`, by a `download` that says where the bundle lies; it may put it below the folder that it is given."""
    if holds(folder, detector, digest_of):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=_FETCHING) as temporary:
        bundle = _only(files, download(Path(temporary)), Path(temporary) / "placed")
        found = digest_of(bundle)
        if found != detector.digest:
            raise DetectorError(
                f"{detector.name} version {detector.version} hashes to {found[:12]}…, registered was "
                f"{detector.digest[:12]}…: its files were changed or damaged; register the bundle again"
            )
        if folder.exists():
            shutil.rmtree(folder)
        bundle.rename(folder)
    return folder


def prune(bundles: Path, in_use: Collection[Path]) -> None:
    """Bounded disk: beside those in use, the newest few bundles of a product stay, for a roll-back without a download.

    What a fetch left that was killed goes too, once it is so old that nobody can be at it.
    """
    others = sorted(set(bundles.glob("*/")) - set(in_use), key=lambda path: path.stat().st_mtime, reverse=True)
    whole = [path for path in others if not path.name.startswith(".")]
    killed = [path for path in others if path.match(f"{_FETCHING}*") and path.stat().st_mtime < time.time() - _DAY]
    for path in whole[KEPT_BUNDLES - 1 :] + killed:
        shutil.rmtree(path, ignore_errors=True)


def _only(files: Sequence[str], source: Path, target: Path) -> Path:
    """Copies of `files`, as far as they are in `source`: what lies beside them is in no digest, and stays behind."""
    try:
        target.mkdir()
        for name in files:
            if (source / name).is_file():
                shutil.copyfile(source / name, target / name)
    except OSError as error:
        raise RegistryError(f"{source} cannot be copied: {error}; see that its files can be read") from error
    return target


def holds(folder: Path, detector: RegisteredDetector, digest_of: Callable[[Path], str] = bundle_digest) -> bool:
    """Whether the bundle of `detector` lies at `folder`, whole and unchanged."""
    try:
        return digest_of(folder) == detector.digest
    except DetectorError:  # absent or incomplete: it will be fetched
        return False


def add_to_run(
    run_id: str,
    folder: Path,
    settings: RegistrySettings,
    *,
    metrics: Mapping[str, float],
    artifact_path: str,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Add `metrics`, `tags`, and the files of `folder` below `artifact_path`, to a run that has ended.

    Raises RegistryError.
    """
    with connected(settings) as client:
        for key, text in (tags or {}).items():
            client.set_tag(run_id, key, text)
        for key, value in metrics.items():
            client.log_metric(run_id, key, value)
        client.log_artifacts(run_id, str(folder), artifact_path)


@contextmanager
def connected(settings: RegistrySettings) -> Iterator[Any]:
    """An MlflowClient whose failures come out as RegistryError."""
    # ask no one outside, and answer within seconds when the server is gone: callers have their own retries
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        if (database := _local_database(settings)) is not None:
            database.parent.mkdir(parents=True, exist_ok=True)
        yield MlflowClient(tracking_uri=settings.tracking_uri, registry_uri=settings.tracking_uri)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        code = getattr(error, "error_code", None)
        remedy = (
            "list what is there with `sightline detectors`, train with `sightline train`"
            if code == "RESOURCE_DOES_NOT_EXIST"
            else "see that the server runs and [registry] tracking_uri is right"
        )
        said = f"registry {settings.tracking_uri}: {str(error)[:_MESSAGE]}; {remedy}"
        raise RegistryError(_CREDENTIALS.sub("//***@", said)) from error


def _crown(client: Any, name: str, version: str) -> None:
    """Move the alias `champion` to `version`, and note whom it was taken from."""
    model = client.get_registered_model(name)
    before = str(model.aliases.get(CHAMPION, version))
    if before != version:
        client.set_registered_model_tag(name, FORMER_TAG, ",".join([*_former(model), before][-_FORMER:]))
    client.set_registered_model_alias(name, CHAMPION, version)
    if str(model.aliases.get(CHALLENGER)) == version:
        client.delete_registered_model_alias(name, CHALLENGER)


def _served(run_id: str) -> str:
    """`MLmodel`, by which MLflow loads a bundle without a pickle; no part of the bundle's digest."""
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    signature = ModelSignature(inputs=Schema([ColSpec(DataType.binary, "image")]))
    described = Model(artifact_path=_ARTIFACTS, run_id=run_id, signature=signature)
    described.add_flavor(
        "python_function", loader_module="models.runtime.serving", data=".", python_version=platform.python_version()
    )
    return str(described.to_yaml())


def _former(model: Any) -> list[str]:
    """Versions that were champion, the last one last."""
    return [version for version in model.tags.get(FORMER_TAG, "").split(",") if version]


def _experiment(client: Any, settings: RegistrySettings) -> str:
    """The id of the experiment, created with its artifacts where the settings say."""
    if known := client.get_experiment_by_name(settings.experiment):
        return str(known.experiment_id)
    root = settings.artifact_root
    if root is None and (database := _local_database(settings)) is not None:
        root = (database.parent / "artifacts").as_uri()
    return str(client.create_experiment(settings.experiment, artifact_location=root))


def _local_database(settings: RegistrySettings) -> Path | None:
    scheme = "sqlite:///"
    uri = settings.tracking_uri
    return Path(uri.removeprefix(scheme)).absolute() if uri.startswith(scheme) else None


def _ensure_model(client: Any, name: str, product: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, tags={PRODUCT_TAG: product})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _models(client: Any, settings: RegistrySettings) -> Iterator[Any]:
    """Registered models whose names carry the prefix, page by page."""
    token = None
    while True:
        page = client.search_registered_models(max_results=_PAGE, page_token=token)
        # compared here: in the server's LIKE an underscore of the prefix would match any letter
        yield from (model for model in page if model.name.startswith(settings.model_prefix))
        token = page.token
        if not token:
            return


def _detector(version: Any, settings: RegistrySettings) -> RegisteredDetector:
    digest = version.tags.get(DIGEST_TAG)
    if not digest:
        raise DetectorError(
            f"{version.name} version {version.version} has no tag {DIGEST_TAG}: it was not registered by Sightline; "
            "register its bundle with `sightline train`, or move the alias"
        )
    product = version.tags.get(PRODUCT_TAG) or version.name.removeprefix(settings.model_prefix)
    return RegisteredDetector(version.name, product, str(version.version), digest)
