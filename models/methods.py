"""The detectors that can be trained, by name: what each looks at, its options, how it is fitted and rebuilt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor, nn

from models.features import FeatureSettings
from models.heads.discriminative import Discriminator
from models.heads.neighbours import LocalOutlierFactor, MemoryBank, coreset
from models.heads.one_class import Gaussian, IsolationForest, SupportVectors
from models.heads.positional import PositionalGaussian, likeliest_shrinkage
from models.heads.reconstruction import Autoencoder
from models.heads.scope import Local, Pooled, cells_of, pooled
from models.heads.student import Student
from models.learning import Learnt, Material
from sightline.errors import DetectorError

Options = Mapping[str, float]
Tensors = Mapping[str, Tensor]

_CELLS = 60_000
"""Cells that a fit looks at, at most: neighbours say nearly the same, and a bank is chosen from them in seconds."""

_WHITE = FeatureSettings(reduction="pca")
_LOCAL = FeatureSettings(reduction="pca", neighbourhood=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to learn what good looks like.

    `options` are its numbers with their defaults, and `tune` finds on good frames those that are left at 0. `folds` is
    how often it is fitted for the threshold, `smoothing` the filter of its map in cells. `defects` says that it learns
    from synthetic ones, `pixels` that it looks at the picture itself, `whole` that it judges the picture as one and
    does not say where.
    """

    summary: str
    fit: Callable[[Learnt, Options], nn.Module]
    rebuild: Callable[[Tensors, Options], nn.Module]
    features: FeatureSettings = _WHITE
    options: Options = field(default_factory=dict)
    folds: int = 10
    smoothing: float = 0.7
    tune: Callable[[Material, Options], Options] | None = None
    defects: bool = False
    pixels: bool = False
    whole: bool = False


def choose(name: str) -> Method:
    """The method `name`; raises DetectorError listing all."""
    try:
        return METHODS[name]
    except KeyError:
        raise DetectorError(f"method is {name!r}, expected one of {', '.join(sorted(METHODS))}") from None


def with_options(method: Method, given: Options) -> Options:
    """The method's options with `given` in place; raises DetectorError for one that it does not have."""
    for name, value in given.items():
        if name not in method.options:
            known = ", ".join(f"{option}={default:g}" for option, default in method.options.items()) or "none"
            raise DetectorError(f"option {name!r} is not one of this method's: {known}")
        if not value >= 0:
            raise DetectorError(f"option {name} is {value}, expected a number of 0 or more")
    return {**method.options, **given}


def _pooled(learnt: Learnt) -> Tensor:
    return pooled(learnt.features)


def _cells(learnt: Learnt, most: int = _CELLS) -> Tensor:
    cells = cells_of(learnt.features)
    if len(cells) <= most:
        return cells
    return cells[torch.randperm(len(cells), generator=torch.Generator().manual_seed(0))[:most]]


def _inner(tensors: Tensors) -> dict[str, Tensor]:
    """The tensors of a scope's estimator under their own names."""
    return {name.removeprefix("estimator."): tensor for name, tensor in tensors.items()}


def _rebuilt(scope: type[nn.Module], estimator: Callable[..., nn.Module]) -> Callable[[Tensors, Options], nn.Module]:
    """For estimators whose tensors are the arguments of their constructor."""
    return lambda tensors, _: scope(estimator(**_inner(tensors)))


def _outlier_factor(tensors: Tensors, options: Options) -> nn.Module:
    return Pooled(LocalOutlierFactor(**_inner(tensors), k=_neighbours(len(tensors["estimator.bank"]), options)))


def _neighbours(bank: int, options: Options) -> int:
    return max(1, min(int(options["k"]), bank - 1))


def _autoencoder(scope: type[nn.Module]) -> Callable[[Tensors, Options], nn.Module]:
    def rebuild(tensors: Tensors, options: Options) -> nn.Module:
        inner = _inner(tensors)
        code = int(options["code"])
        return _filled(scope(Autoencoder(inner["mean"], inner["scale"], 2 * code, code)), tensors)

    return rebuild


def _filled(module: nn.Module, tensors: Tensors) -> nn.Module:
    module.load_state_dict(dict(tensors))
    return module


def _shrink(material: Material, options: Options) -> Options:
    """The shrinkage that good frames make likeliest, unless one is given."""
    if options["shrinkage"]:
        return options
    return {**options, "shrinkage": likeliest_shrinkage(material.features, options["ridge"])}


def _fit_autoencoder(vectors: Tensor, options: Options) -> Autoencoder:
    return Autoencoder.fit(vectors, code=int(options["code"]), steps=int(options["steps"]), seed=0)


def _fit_student(learnt: Learnt, options: Options) -> Student:
    if learnt.pixels is None:
        raise DetectorError("a student needs the pixels of its frames; gather them with the features")
    halvings = (learnt.pixels.shape[-1] // learnt.features.shape[-1]).bit_length() - 1
    return Student.fit(
        learnt.features,
        learnt.pixels,
        halvings=halvings,
        width=int(options["width"]),
        steps=int(options["steps"]),
        seed=0,
    )


def _student(tensors: Tensors, options: Options) -> nn.Module:
    halvings = sum(name.endswith(".weight") for name in tensors) - 2
    module = Student(tensors["mean"].flatten(), tensors["scale"].flatten(), halvings, int(options["width"]))
    return _filled(module, tensors)


def _fit_discriminator(learnt: Learnt, options: Options) -> Discriminator:
    return Discriminator.fit(
        learnt.features,
        learnt.spoilt,
        learnt.masks,
        hidden=int(options["hidden"]),
        steps=int(options["steps"]),
        noise=options["noise"],
        seed=0,
    )


def _discriminator(tensors: Tensors, options: Options) -> nn.Module:
    module = Discriminator(tensors["mean"].flatten(), tensors["scale"].flatten(), int(options["hidden"]))
    return _filled(module, tensors)


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "padim": Method(
            summary="one Gaussian at each position: for parts that always lie alike",
            features=FeatureSettings(),
            options={"shrinkage": 0.0, "ridge": 0.01},
            fit=lambda learnt, o: PositionalGaussian.fit(learnt.features, o["shrinkage"], o["ridge"]),
            tune=_shrink,
            rebuild=lambda tensors, _: PositionalGaussian(**tensors),
        ),
        "patchcore": Method(
            summary="distance to the nearest of a coreset of good patches: for parts in any pose",
            features=_LOCAL,
            options={"bank": 3000},
            fit=lambda learnt, o: Local(MemoryBank(coreset(_cells(learnt), int(o["bank"]), seed=0))),
            rebuild=_rebuilt(Local, MemoryBank),
            folds=5,
        ),
        "discriminative": Method(
            summary="a small network that learns good from synthetic defects: quick, for any pose",
            features=FeatureSettings(dimensions=176),
            options={"hidden": 64, "steps": 300, "noise": 0.5},
            fit=_fit_discriminator,
            rebuild=_discriminator,
            folds=3,
            defects=True,
        ),
        "student": Method(
            summary="a student imitates the features on good frames and fails on others",
            features=FeatureSettings(dimensions=64),
            options={"width": 24, "steps": 300},
            fit=_fit_student,
            rebuild=_student,
            folds=3,
            pixels=True,
        ),
        "dfr": Method(
            summary="deep feature reconstruction: an autoencoder over patches",
            features=_LOCAL,
            options={"code": 24, "steps": 1500},
            fit=lambda learnt, o: Local(_fit_autoencoder(_cells(learnt), o)),
            rebuild=_autoencoder(Local),
            folds=3,
        ),
        "gaussian": Method(
            summary="one Gaussian of the whole picture's features",
            fit=lambda learnt, _: Pooled(Gaussian.fit(_pooled(learnt))),
            rebuild=_rebuilt(Pooled, Gaussian),
            whole=True,
        ),
        "elliptic": Method(
            summary="elliptic envelope: a Gaussian of the most alike pictures, deaf to a few bad ones",
            features=FeatureSettings(reduction="pca", dimensions=16),
            fit=lambda learnt, _: Pooled(Gaussian.fit_robust(_pooled(learnt))),
            rebuild=_rebuilt(Pooled, Gaussian),
            whole=True,
        ),
        "knn": Method(
            summary="distance to the most alike good picture",
            fit=lambda learnt, _: Pooled(MemoryBank(_pooled(learnt))),
            rebuild=_rebuilt(Pooled, MemoryBank),
            whole=True,
        ),
        "lof": Method(
            summary="local outlier factor: how lonely a picture is among good ones",
            options={"k": 10},
            fit=lambda learnt, o: Pooled(LocalOutlierFactor.fit(_pooled(learnt), _neighbours(len(learnt.features), o))),
            rebuild=_outlier_factor,
            whole=True,
        ),
        "ocsvm": Method(
            summary="one-class support vector machine on whole pictures",
            options={"nu": 0.05},
            fit=lambda learnt, o: Pooled(SupportVectors.fit(_pooled(learnt), o["nu"])),
            rebuild=_rebuilt(Pooled, SupportVectors),
            whole=True,
        ),
        "forest": Method(
            summary="isolation forest on whole pictures",
            options={"trees": 100},
            fit=lambda learnt, o: Pooled(IsolationForest.fit(_pooled(learnt), int(o["trees"]))),
            rebuild=_rebuilt(Pooled, IsolationForest),
            whole=True,
        ),
        "autoencoder": Method(
            summary="an autoencoder of the whole picture's features",
            options={"code": 16, "steps": 1500},
            fit=lambda learnt, o: Pooled(_fit_autoencoder(_pooled(learnt), o)),
            rebuild=_autoencoder(Pooled),
            whole=True,
            folds=3,
        ),
    }
)
