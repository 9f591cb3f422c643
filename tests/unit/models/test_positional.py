"""Gaussians at positions: how far their covariances are shrunk."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.heads.positional import SHRINKAGES, likeliest_shrinkage, likelihoods
from models.learning import Material
from models.methods import METHODS

RIDGE = 0.01


def drawn(frames: int, *, alike: bool, variants: int = 0) -> Tensor:
    """Features [frames, 1 + variants, 12, 6, 6], each position of the same or of its own correlated Gaussian."""
    generator = torch.Generator().manual_seed(1)
    mixing = torch.randn(1 if alike else 36, 12, 12, generator=generator).expand(36, 12, 12)
    noise = torch.randn(frames, 1 + variants, 36, 12, generator=generator)
    return torch.einsum("pij,nvpj->nvip", mixing, noise).unflatten(3, (6, 6))


def test_few_frames_or_like_positions_borrow_more_from_each_other() -> None:
    few, many = (likeliest_shrinkage(drawn(count, alike=False), RIDGE) for count in (20, 400))
    assert SHRINKAGES[0] == many < few
    assert likeliest_shrinkage(drawn(20, alike=True), RIDGE) == SHRINKAGES[-1]


def test_likelihood_is_that_of_the_gaussian_that_is_learnt() -> None:
    features = drawn(400, alike=True)
    cells = features.flatten(3)[:, 0].permute(0, 2, 1).flatten(0, 1)
    density = torch.distributions.MultivariateNormal(cells.mean(0), torch.cov(cells.T) + RIDGE * torch.eye(12))
    expected = float(density.log_prob(cells).mean()) / 12
    assert float(likelihoods(features, RIDGE).max()) == pytest.approx(expected, abs=0.02)


def test_variants_are_learnt_and_never_judged() -> None:
    features = drawn(40, alike=True, variants=1)
    alone = float(likelihoods(features[:, :1], RIDGE).max())
    # variants from the same Gaussian say as much as more frames, those from elsewhere widen what is learnt
    assert float(likelihoods(features, RIDGE).max()) == pytest.approx(alone, abs=0.05)
    elsewhere = features.clone()
    elsewhere[:, 1] += 10
    assert float(likelihoods(elsewhere, RIDGE).max()) < alone - 0.1


def test_a_given_shrinkage_is_kept() -> None:
    tune = METHODS["padim"].tune
    assert tune is not None
    features = drawn(20, alike=True)
    material = Material(features, None, features[:, :0], features[:, :0, 0])
    assert tune(material, {"shrinkage": 0.3, "ridge": RIDGE})["shrinkage"] == 0.3
    assert tune(material, {"shrinkage": 0.0, "ridge": RIDGE})["shrinkage"] == SHRINKAGES[-1]
