"""Training sets on disk: checked before anything is learnt from them, with or without a manifest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from models.dataset import Dataset, Sample, read_dataset, read_labelled
from models.runtime.picture import PictureFacts, mask_facts, mask_fault, picture_facts
from sightline.errors import FrameError, SourceError
from sightline.trainingset import (
    FILE,
    GOOD,
    MIN_CONTRAST,
    Manifest,
    Picture,
    Split,
    read_manifest,
    require_sound,
    set_digest,
)

_NAMED = 3


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A sound set: its pictures with their facts, as a data set to train on, and its manifest where it has one."""

    root: Path
    pictures: tuple[Picture, ...]
    dataset: Dataset
    manifest: Manifest | None = None


def load_training_set(root: Path, *, mixed_sizes: bool = False) -> TrainingSet:
    """Read and check every file of the set in `root`: one that was ingested, MVTec AD's layout, or a flat folder.

    Raises SourceError for whatever cannot be learnt from, all faults at once: files that cannot be read, too few or one
    single picture, mixed sizes (unless `mixed_sizes` or the manifest allows them), black or plain pictures, one picture
    under two labels or in two splits, masks that do not fit; with a manifest, also files that are not as it says.
    """
    if (root / FILE).is_file():
        manifest = read_manifest(root)
        _verify(root, manifest)
        require_sound(manifest.pictures, mixed_sizes=mixed_sizes or manifest.mixed_sizes)
        return TrainingSet(root, manifest.pictures, _dataset(root, manifest), manifest)
    dataset = read_dataset(root)
    samples = [(Split.TRAIN, Sample(path, GOOD)) for path in dataset.good]
    samples += [(Split.TEST, sample) for sample in dataset.test]
    faults: list[str] = []
    found = [_scanned(root, split, sample, faults) for split, sample in samples]
    faults += _orphans(root, dataset)
    _refuse(faults)
    pictures = tuple(picture for picture in found if picture)
    require_sound(pictures, mixed_sizes=mixed_sizes)
    return TrainingSet(root, pictures, dataset)


def load_labelled(root: Path) -> tuple[Sample, ...]:
    """The labelled pictures in `test/KIND` of `root`, each read and looked at; nothing to learn from needs to be there.

    Sizes may differ. Raises SourceError, all faults at once: no labelled picture, files that cannot be read, black or
    plain pictures only, masks that do not fit their picture or belong to none.
    """
    samples = read_labelled(root)
    faults: list[str] = []
    found = [_scanned(root, Split.TEST, sample, faults) for sample in samples]
    faults += _orphans(root, Dataset(root, (), samples))
    seen = [one for one in found if one]
    if seen and all(one.contrast < MIN_CONTRAST for one in seen):
        faults.append(f"all {len(seen)} labelled pictures are black or plain all over; look at the camera")
    _refuse(faults)
    return samples


def _verify(root: Path, manifest: Manifest) -> None:
    """Every file is there and as it was written; raises SourceError naming those that are not."""
    faults = []
    for picture in manifest.pictures:
        facts = PictureFacts(picture.width, picture.height, picture.brightness, picture.contrast)
        try:
            content = (root / picture.path).read_bytes()
        except OSError as error:
            faults.append(f"{picture.path} cannot be read ({error.strerror})")
            continue
        if hashlib.sha256(content).hexdigest() != picture.sha256:
            faults.append(f"{picture.path} is not what the manifest says")
        if picture.mask:
            faults += _mask_faults(root, root / picture.mask, facts)
    known = {picture.path for picture in manifest.pictures}
    present = {path.relative_to(root).as_posix() for split in Split for path in (root / split).rglob("*.*")}
    faults += [f"{path} is not in the manifest" for path in sorted(present - known)]
    if manifest.digest != set_digest(manifest.pictures):
        faults.append(f"{FILE} was changed by hand: its digest is not that of its pictures")
    _refuse(faults)


def _dataset(root: Path, manifest: Manifest) -> Dataset:
    """What is learnt from and what is measured on; `validation` is neither."""
    good = (root / one.path for one in manifest.pictures if one.split is Split.TRAIN and one.label == GOOD)
    test = (
        Sample(root / one.path, one.label, root / one.mask if one.mask else None)
        for one in manifest.pictures
        if one.split is Split.TEST
    )
    return Dataset(root, tuple(sorted(good)), tuple(test))


def _scanned(root: Path, split: Split, sample: Sample, faults: list[str]) -> Picture | None:
    """The picture with its facts; None, and a fault more, when it cannot be read."""
    name = sample.path.relative_to(root).as_posix()
    try:
        content = sample.path.read_bytes()
        facts = picture_facts(content)
    except (FrameError, OSError) as error:
        faults.append(f"{name} cannot be used: {error}")
        return None
    if sample.mask:
        faults += _mask_faults(root, sample.mask, facts)
    sha256 = hashlib.sha256(content).hexdigest()
    return Picture(
        path=name,
        label=sample.kind,
        split=split,
        part=sha256,
        sha256=sha256,
        width=facts.width,
        height=facts.height,
        brightness=facts.brightness,
        contrast=facts.contrast,
        origin=name,
        mask=sample.mask.relative_to(root).as_posix() if sample.mask else None,
    )


def _mask_faults(root: Path, path: Path, facts: PictureFacts) -> list[str]:
    name = path.relative_to(root).as_posix()
    try:
        fault = mask_fault(mask_facts(path.read_bytes()), facts)
    except (FrameError, OSError) as error:
        return [f"mask {name} cannot be used: {error}"]
    return [f"mask {name} {fault}"] if fault else []


def _orphans(root: Path, dataset: Dataset) -> list[str]:
    """Masks that belong to no picture."""
    used = {sample.mask for sample in dataset.test}
    masks = sorted(path for path in (root / "ground_truth").rglob("*.*") if path.is_file() and path not in used)
    return [f"mask {path.relative_to(root).as_posix()} fits no picture in test" for path in masks]


def _refuse(faults: list[str]) -> None:
    if faults:
        more = f"\n- and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
        shown = "\n".join(f"- {fault}" for fault in faults[:_NAMED])
        raise SourceError(f"files of the set cannot be trusted; repair or remove them:\n{shown}{more}")
