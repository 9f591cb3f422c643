"""The loop: what the line has seen and people have said since the champion was trained becomes its challenger.

`retrain` asks the history for a training set (a process of its own, `streaming.retrain_set`), trains in the champion's
manner, judges both on the parts that were held out, counts the reported mistakes that each gets right, and registers
the challenger as its policy says. Splits go by a hash of the part, so that what is held out now was held out from a
champion that came out of this loop, too.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import msgspec

from models import registry
from models.fitting import Recipe
from models.gate import Policy, objections
from models.judging.judge import judge
from models.judging.judgement import Judgement
from models.methods import choose
from models.progress import Progress, quiet
from models.registry import CHALLENGER, CHAMPION, RegisteredDetector
from models.retrain_reports import Tally, tally
from models.runtime.card import DetectorCard, load_card
from models.runtime.view import View, on_card, view_of
from models.train import train
from models.trainingset import load_training_set
from sightline.errors import DetectorError, RegistryError, SourceError
from sightline.retraining import ANSWER_FILE, SET_FOLDER, HistoryAnswer, HistoryRequest
from sightline.settings import RegistrySettings, run_folder
from sightline.trainingset import GOOD

METRIC_PREFIX = "retraining/"
TAG_PREFIX = "sightline.retraining."
SUMMARY_FILE = "retraining.json"

_COMPARED = ("image_auroc", "image_pr_auc", "f1", "aupro_30")


class RetrainPolicy(StrEnum):
    """What becomes of a challenger that passes the gate: a person promotes it, or it is champion at once."""

    PROPOSE = "propose"
    PROMOTE = "promote"


class Result(StrEnum):
    PROMOTED = "promoted"
    PROPOSED = "proposed"
    REFUSED = "refused"
    NOTHING_NEW = "nothing-new"
    NO_DRIFT = "no-drift"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainOptions:
    """How to retrain. `method` instead of the champion's own; `limit` is the most good frames that nobody spoke of.

    `mask` is the one that the champion learnt under, if any: a card keeps its digest only.
    """

    policy: RetrainPolicy = RetrainPolicy.PROPOSE
    method: str | None = None
    if_drifted: bool = False
    force: bool = False
    limit: int = 1000
    gap_seconds: float = 1.0
    frames_per_part: int | None = None
    mask: Path | None = None
    threads: int = 2
    gate: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was done and why. `metrics` are `champion/…` and `challenger/…`, both on the held-out pictures.

    `held_out` and `learnt` are the reported frames by kind: those that neither has learnt from, and those of the split
    `train`, which prove only that the challenger learnt them.
    """

    product: str
    result: Result
    champion: str
    challenger: str | None = None
    method: str | None = None
    why: tuple[str, ...] = ()
    new_frames: int = 0
    new_answers: int = 0
    drifted: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    held_out: Mapping[str, Tally] = field(default_factory=dict)
    learnt: Mapping[str, Tally] = field(default_factory=dict)


def retrain(
    product: str, settings: RegistrySettings, options: RetrainOptions, progress: Progress | None = None
) -> Outcome:
    """Retrain the detector of `product` where there is reason to.

    Raises RegistryError when there is no champion, SourceError when the history makes no training set or another
    retraining of the product runs on this machine, DetectorError when the challenger cannot be trusted.
    """
    progress = progress or quiet
    champion = registry.champions(settings).get(registry.check_product(product))
    if champion is None:
        raise RegistryError(
            f"{product} has no champion to retrain: train a first one with `sightline train DATA --product {product}`, "
            "or promote a version with `sightline promote`"
        )
    with _alone(product), tempfile.TemporaryDirectory(prefix="sightline-retrain-") as temporary:
        folder = Path(temporary)
        card = load_card(registry.fetch(champion, folder / CHAMPION, settings))
        recipe = replace(_recipe(card, options.method), view=_view(card, options.mask))
        progress("history", 0, 1)
        history = ask_process(_request(folder, champion, card, options))
        progress("history", 1, 1)
        if not history.made:
            return _nothing(champion, history, options)
        return _challenge(folder, champion, recipe, history, settings, options, progress)


def _challenge(
    folder: Path,
    champion: RegisteredDetector,
    recipe: Recipe,
    history: HistoryAnswer,
    settings: RegistrySettings,
    options: RetrainOptions,
    progress: Progress,
) -> Outcome:
    """Train, judge, decide, register."""
    data, product = folder / SET_FOLDER, champion.product
    if not load_training_set(data).dataset.test:
        raise SourceError(
            f"all frames of {product} fall into the split to learn from, so nothing could be judged: wait for more "
            "parts, or tell them apart more finely (--gap-seconds, --frames-per-part)"
        )
    new = folder / CHALLENGER
    train(
        data, product, settings, recipe=recipe, threads=options.threads, register=False, output=new, progress=progress
    )
    ours = judge(new, data, view=recipe.view, progress=progress)
    theirs = judge(folder / CHAMPION, data, view=recipe.view, progress=progress)
    held_out, learnt = tally(data, history.reports, folder / CHAMPION, new, recipe.view, progress)
    why = [*objections(ours, theirs, options.gate), *_unproved(ours), *_forgotten(held_out)]
    result = decide(options.policy, why)
    if result is Result.PROMOTED and (other := _other_champion(champion, settings)):
        result, why = Result.PROPOSED, [other]
    alias = {Result.PROMOTED: CHAMPION, Result.PROPOSED: CHALLENGER}.get(result)
    progress("registering", 0, 1)
    registered = registry.register_bundle(new, settings, alias=alias)
    outcome = Outcome(
        product=product,
        result=result,
        champion=champion.version,
        challenger=registered.version,
        method=recipe.method,
        why=tuple(why),
        new_frames=history.new_frames,
        new_answers=history.new_answers,
        drifted=history.drifted,
        metrics=_numbers(CHAMPION, theirs) | _numbers(CHALLENGER, ours),
        held_out=held_out,
        learnt=learnt,
    )
    _log(outcome, options, load_card(new), folder, settings)
    progress("registering", 1, 1)
    return outcome


def decide(policy: RetrainPolicy, why: Sequence[str]) -> Result:
    """Refused where there is an objection, whatever the policy; else as it says."""
    if why:
        return Result.REFUSED
    return Result.PROMOTED if policy is RetrainPolicy.PROMOTE else Result.PROPOSED


def _other_champion(judged: RegisteredDetector, settings: RegistrySettings) -> str | None:
    """Why a challenger that beat `judged` may not be champion: training takes long, and another may be it by now."""
    now = registry.champions(settings).get(judged.product)
    if now == judged:
        return None
    return (
        f"it was compared with version {judged.version}, and meanwhile "
        + (f"version {now.version} became champion" if now else "the champion was taken away")
        + "; compare them with `sightline promote --data`, or retrain again"
    )


def _recipe(card: DetectorCard, method: str | None) -> Recipe:
    """How the champion learnt; `method` with its own defaults instead. Rates and latency budget stay.

    Alignment and variants are tried anew: the line may have changed.
    """
    known = Recipe.from_card(card)
    if method is not None:
        choose(method)
        return Recipe(
            method=method,
            precision=known.precision,
            rates=known.rates,
            latency_budget_ms=known.latency_budget_ms,
        )
    return replace(known, alignment="auto", variation=None)


def _view(card: DetectorCard, mask: Path | None) -> View | None:
    """The region and mask under which the champion learnt; raises DetectorError where the mask is not at hand."""
    region, wanted = card.parameters.get("region"), card.parameters.get("mask_sha256")
    if wanted and mask is None:
        raise DetectorError(f"{card.name} learnt under a mask; name its file with --mask")
    view = view_of(None if region is None else str(region), mask)
    if wanted and on_card(view)["mask_sha256"] != wanted:
        raise DetectorError(f"--mask {mask} is not the mask that {card.name} learnt under; name that one")
    return view


def _request(folder: Path, champion: RegisteredDetector, card: DetectorCard, options: RetrainOptions) -> HistoryRequest:
    return HistoryRequest(
        folder=str(folder),
        product=champion.product,
        since=card.created_at,
        digest=champion.digest,
        limit=options.limit,
        gap_seconds=options.gap_seconds,
        frames_per_part=options.frames_per_part,
        only_if_drifted=options.if_drifted,
        force=options.force,
    )


def ask_process(request: HistoryRequest) -> HistoryAnswer:
    """The history's answer, from a process whose memory is free afterwards; raises SourceError with its reason."""
    command = [sys.executable, "-m", "streaming.retrain_set", msgspec.json.encode(request).decode()]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        reason = said.rpartition("error: ")[2] if "error: " in said else said[-2000:] or f"exit code {done.returncode}"
        raise SourceError(f"the history of {request.product} makes no training set: {reason}")
    return msgspec.json.decode((Path(request.folder) / ANSWER_FILE).read_bytes(), type=HistoryAnswer)


def _nothing(champion: RegisteredDetector, history: HistoryAnswer, options: RetrainOptions) -> Outcome:
    undrifted = options.if_drifted and not history.drifted
    why = (
        f"the drift table names nothing since version {champion.version} judges"
        if undrifted
        else f"no new frame and no new answer since version {champion.version} was trained; --force trains all the same"
    )
    return Outcome(
        product=champion.product,
        result=Result.NO_DRIFT if undrifted else Result.NOTHING_NEW,
        champion=champion.version,
        why=(why,),
        new_frames=history.new_frames,
        new_answers=history.new_answers,
        drifted=history.drifted,
    )


def _unproved(judgement: Judgement) -> list[str]:
    """A gate that compares nothing lets everything pass."""
    good = sum(sample.kind == GOOD for sample in judgement.samples)
    defective = len(judgement.samples) - good
    if good and defective:
        return []
    return [
        f"{good} good and {defective} defective pictures are held out: nothing shows which of the two is more right; "
        "confirm defects, or evaluate both by hand"
    ]


def _forgotten(held_out: Mapping[str, Tally]) -> list[str]:
    return [
        f"{kind}: {one.challenger} of {one.frames} reported frames right, the champion {one.champion}"
        for kind, one in held_out.items()
        if one.challenger < one.champion
    ]


def _numbers(name: str, judgement: Judgement) -> dict[str, float]:
    found = {metric: judgement.metrics[metric] for metric in _COMPARED if metric in judgement.metrics}
    found["frames_per_second"] = judgement.speeds[-1].frames_per_second
    return {f"{name}/{metric}": float(value) for metric, value in found.items()}


def _log(
    outcome: Outcome, options: RetrainOptions, card: DetectorCard, folder: Path, settings: RegistrySettings
) -> None:
    """What the policy did and why, on the challenger's run: metrics, tags, and all of it as a file."""
    place = folder / "log"
    place.mkdir()
    (place / SUMMARY_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(outcome), indent=2) + b"\n")
    metrics = {METRIC_PREFIX + name: value for name, value in outcome.metrics.items()}
    for split, tallies in (("held_out", outcome.held_out), ("learnt", outcome.learnt)):
        for kind, one in tallies.items():
            for name, value in asdict(one).items():
                metrics[f"{METRIC_PREFIX}{split}/{kind}/{name}"] = float(value)
    tags = {
        TAG_PREFIX + "policy": options.policy.value,
        TAG_PREFIX + "result": outcome.result.value,
        TAG_PREFIX + "why": "; ".join(outcome.why) or "the gate has no objection",
        TAG_PREFIX + "champion": outcome.champion,
        TAG_PREFIX + "drifted": "; ".join(outcome.drifted)[:1000],
    }
    assert card.run_id is not None  # registering wrote it
    registry.add_to_run(card.run_id, place, settings, metrics=metrics, artifact_path="retraining", tags=tags)


@contextmanager
def _alone(product: str) -> Iterator[None]:
    """Hold the product's lock; the system lets go of it with the process, however that ends."""
    place = run_folder() / "retrain"
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{product}.lock"
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SourceError(
                f"{product} is being retrained already (a process holds {path}); wait until it is done"
            ) from None
        yield
