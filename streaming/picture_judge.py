"""Archived pictures judged in batches, without a stream: by Spark's workers and by a plain Python loop alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from models import registry
from models.runtime.card import bundle_digest, load_card
from models.runtime.decode import DecodedFrame, decode
from models.runtime.good_scores import GoodScores
from models.runtime.interpret import in_frame, verdict
from models.runtime.scorer import MAX_BATCH, PRECISIONS, Backend, Scorer, load_scorer
from models.runtime.transcode import as_jpeg
from models.runtime.view import View, check_maskable, masked
from sightline.contracts import Reason, Verdict
from sightline.errors import DetectorError, FrameError, RegistryError
from sightline.settings import RegistrySettings, run_folder

Picture = str | bytes | None
"""A local path or `file:` URI, or the bytes of a picture; None is answered as unreadable."""

BACKENDS: Mapping[str, Backend] = MappingProxyType(
    {"pytorch": "torch", "onnx": "onnxruntime", **{name: name for name in PRECISIONS}}
)
"""What a backend may be called here, to its name in `models.runtime`."""

MAX_FILE_BYTES = 256 * 1024 * 1024

_UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgePlan:
    """Which detector judges, and how; plain values, which travel to worker processes.

    `folder` is a path that all of them see. `version` is None for a bundle that was named by its folder.
    """

    folder: str
    name: str
    version: str | None
    digest: str
    threshold: float
    backend: Backend
    threads: int
    view: View | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a detector says of one picture, or `error`, a reason and a sentence, with all else None.

    `ok` is the share of good frames that score at least as high as this picture, `defect` the share that scores lower
    (`models.runtime.good_scores`); both are None where the detector's card does not state its rates. `confidence` is
    `ok` for the verdict ok and `defect` for the others. `anomaly_map` is float32 [rows, cols] over the whole picture.
    """

    verdict: Verdict | None = None
    score: float | None = None
    confidence: float | None = None
    ok: float | None = None
    defect: float | None = None
    anomaly_map: NDArray[np.float32] | None = None
    error: str | None = None


class PictureJudge:
    """Judges pictures; one that cannot be judged is answered with its error and never costs its batch-mates."""

    def __init__(self, scorer: Scorer, view: View | None = None) -> None:
        self._scorer = scorer
        self._view = view
        self._good = GoodScores.of(scorer.card)

    def judge(self, pictures: Sequence[Picture]) -> list[Answer]:
        """One answer for each of `pictures`, in their order."""
        found: list[Answer] = []
        for start in range(0, len(pictures), MAX_BATCH):
            found += self._batch(pictures[start : start + MAX_BATCH])
        return found

    def _batch(self, pictures: Sequence[Picture]) -> list[Answer]:
        card = self._scorer.card
        answers = [Answer() for _ in pictures]
        opened: dict[int, DecodedFrame] = {}
        for place, picture in enumerate(pictures):
            try:
                data = as_jpeg(_bytes_of(picture))
                opened[place] = decode(data, card.input_height, card.input_width, self._view)
            except FrameError as error:
                answers[place] = _failed(error)
        if opened:
            for place, answer in zip(opened, self._scored(list(opened.values())), strict=True):
                answers[place] = answer
        return answers

    def _scored(self, frames: Sequence[DecodedFrame]) -> list[Answer]:
        try:
            found = masked(self._view, self._scorer.score(np.stack([frame.image for frame in frames])))
        except DetectorError as error:
            if len(frames) > 1:
                return [answer for frame in frames for answer in self._scored([frame])]
            return [_failed(FrameError(Reason.SCORING_FAILED, str(error)))]
        reached = self._good.reaching(found.scores) if self._good else [None] * len(frames)
        return [
            self._answer(frame, float(score), values, None if share is None else float(share))
            for frame, score, values, share in zip(frames, found.scores, found.maps, reached, strict=True)
        ]

    def _answer(
        self, frame: DecodedFrame, score: float, anomaly_map: NDArray[np.float32], share: float | None
    ) -> Answer:
        called = verdict(score, self._scorer.card)
        defect = None if share is None else 1 - share
        return Answer(
            verdict=called,
            score=score,
            confidence=share if called is Verdict.OK else defect,
            ok=share,
            defect=defect,
            anomaly_map=in_frame(anomaly_map, frame.covered, frame.width, frame.height),
        )


def plan_for(
    detector: str | Path | None,
    backend: str = "openvino",
    *,
    threads: int = 1,
    view: View | None = None,
    settings: RegistrySettings | None = None,
) -> JudgePlan:
    """The plan for a bundle's folder, or for `PRODUCT`, `PRODUCT@VERSION` or `PRODUCT@ALIAS` in the registry.

    None is the only champion there. A folder of that name goes first. A registered detector is fetched into the run
    folder; on a cluster that folder must be one that all workers see. Raises DetectorError for an unknown backend, a
    broken bundle, or one that the view's mask cannot be applied to, RegistryError when the detector cannot be had.
    """
    if backend not in BACKENDS:
        raise DetectorError(f"backend is {backend!r}, expected one of {', '.join(BACKENDS)}")
    if detector is None:
        detector = _only_product(settings or RegistrySettings.load())
    folder, version = Path(detector), None
    if not (folder.is_dir() or len(folder.parts) > 1):
        settings = settings or RegistrySettings.load()
        registered = registry.find(str(detector), settings)
        version = registered.version
        bundles = run_folder() / "batch" / registered.product
        folder = registry.fetch(registered, bundles / registered.digest, settings)
        registry.prune(bundles, {folder})
    card = load_card(folder)
    check_maskable(card, [view] if view else [])
    return JudgePlan(
        folder=str(folder.resolve()),
        name=card.name,
        version=version,
        digest=bundle_digest(folder),
        threshold=card.threshold,
        backend=BACKENDS[backend],
        threads=threads,
        view=view,
    )


@lru_cache(maxsize=4)
def judge_for(plan: JudgePlan) -> PictureJudge:
    """The judge of `plan`, loaded on first use and kept for the life of this process.

    Raises DetectorError where the folder is not here, or holds another detector than the one that was planned.
    """
    folder = Path(plan.folder)
    if (found := bundle_digest(folder)) != plan.digest:
        raise DetectorError(
            f"{folder} hashes to {found[:12]}…, planned was {plan.digest[:12]}…: the bundle was changed, or this "
            "machine has another one there; plan again, with a folder that all workers share"
        )
    return PictureJudge(load_scorer(folder, plan.backend, plan.threads), plan.view)


def _only_product(settings: RegistrySettings) -> str:
    products = sorted(registry.champions(settings))
    if len(products) == 1:
        return products[0]
    there = f"{len(products)} products have a champion: {', '.join(products)}" if products else "there is no champion"
    raise RegistryError(f"which detector? {there}; name one, as in detector='cap' or detector='bundles/cap'")


def _bytes_of(picture: Picture) -> bytes:
    if picture is None:
        raise FrameError(Reason.EMPTY, "there is no picture, the column is null")
    if isinstance(picture, bytes):
        return picture
    path = _local(picture)
    try:
        if not path.is_file():
            raise FrameError(_UNREADABLE, f"{picture} is not a file that this process sees")
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise FrameError(Reason.TOO_LARGE, f"{picture} has {size} bytes, at most {MAX_FILE_BYTES} are read")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise FrameError(_UNREADABLE, f"{picture} cannot be read: {error}") from error


def _local(place: str) -> Path:
    scheme, colon, rest = place.partition(":")
    if not colon or "/" in scheme:
        return Path(place)
    if scheme != "file":
        raise FrameError(
            _UNREADABLE,
            f"{place} is not local: read it with spark.read.format('binaryFile') and pass its column `content`",
        )
    path = Path("/" + rest.lstrip("/"))
    # Spark writes paths as they are in some places, and with %20 for a space in others
    return path if path.exists() else Path(unquote(str(path)))


def _failed(error: FrameError) -> Answer:
    return Answer(error=f"{error.reason}: {error}")
