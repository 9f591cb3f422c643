"""Heads that draw one boundary around good vectors: Gaussian, robust Gaussian, one-class support vectors, forest."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.covariance import LedoitWolf, MinCovDet
from sklearn.ensemble import IsolationForest as SklearnForest
from sklearn.svm import OneClassSVM as SklearnSVM
from torch import Tensor, nn

from models.heads.neighbours import squared_distances

_SEED = 0
_RIDGE = 1e-3
"""Added to each variance: absolute for features of about unit variance, and relative to the mean one."""


class Gaussian(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """Mahalanobis distance over the root of d: about 1 is usual. `mean` [d], `whitening` [d, d]."""

    mean: Tensor
    whitening: Tensor

    def __init__(self, mean: Tensor, whitening: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("whitening", whitening)

    def forward(self, vectors: Tensor) -> Tensor:
        """float32 [M, d] to [M]."""
        return ((vectors - self.mean) @ self.whitening).square().mean(dim=1).sqrt()

    @classmethod
    def fit(cls, vectors: Tensor) -> Gaussian:
        """With Ledoit and Wolf's shrinkage, as Rippel et al. (2021, arXiv:2005.14140) fit deep features."""
        found = LedoitWolf().fit(vectors.double().numpy())
        return cls._from(found.location_, found.covariance_)

    @classmethod
    def fit_robust(cls, vectors: Tensor) -> Gaussian:
        """Elliptic envelope: the covariance of the most concentrated share (Rousseeuw & Van Driessen 1999)."""
        found = MinCovDet(random_state=_SEED).fit(vectors.double().numpy())
        return cls._from(found.location_, found.covariance_)

    @classmethod
    def _from(cls, mean: np.ndarray, covariance: np.ndarray) -> Gaussian:
        # directions that hardly vary would magnify the rounding of runtimes into a score of their own
        ridge = _RIDGE * (1 + np.trace(covariance) / len(covariance))
        lower = np.linalg.cholesky(covariance + ridge * np.eye(len(covariance)))
        whitening = np.linalg.inv(lower).T
        return cls(torch.from_numpy(mean).float(), torch.from_numpy(whitening).float())


class SupportVectors(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """One-class SVM with a Gaussian kernel (Schölkopf et al. 2001): total weight less the kernel sum, so 0 or more."""

    vectors: Tensor
    weights: Tensor
    gamma: Tensor

    def __init__(self, vectors: Tensor, weights: Tensor, gamma: Tensor) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors)
        self.register_buffer("weights", weights)
        self.register_buffer("gamma", gamma)

    def forward(self, vectors: Tensor) -> Tensor:
        """float32 [M, d] to [M]."""
        kernel = torch.exp(-self.gamma * squared_distances(vectors, self.vectors))
        return (1 - kernel) @ self.weights

    @classmethod
    def fit(cls, vectors: Tensor, nu: float = 0.05) -> SupportVectors:
        """`nu` bounds the share of good vectors outside the boundary."""
        gamma = 1.0 / (vectors.shape[1] * float(vectors.var()))
        found = SklearnSVM(kernel="rbf", nu=nu, gamma=gamma).fit(vectors.numpy())
        weights = torch.from_numpy(found.dual_coef_[0]).float()
        return cls(torch.from_numpy(found.support_vectors_).float(), weights / weights.sum(), torch.tensor(gamma))


class IsolationForest(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """How early random cuts set a vector apart (Liu et al. 2008): 0.5 is usual, 1 is certain.

    All [T, nodes]: `feature` and `limit` of each node's cut, `left` and `right` child, `depth` of a path that ends
    there. Leaves are their own children, so that `steps` steps take every vector to its leaf.
    """

    feature: Tensor
    limit: Tensor
    left: Tensor
    right: Tensor
    depth: Tensor
    usual: Tensor

    def __init__(
        self, feature: Tensor, limit: Tensor, left: Tensor, right: Tensor, depth: Tensor, usual: Tensor
    ) -> None:
        super().__init__()
        for name, value in (("feature", feature), ("limit", limit), ("left", left), ("right", right)):
            self.register_buffer(name, value)
        self.register_buffer("depth", depth)
        self.register_buffer("usual", usual)

    def forward(self, vectors: Tensor) -> Tensor:
        """float32 [M, d] to [M]."""
        trees = self.feature.shape[0]
        node = torch.zeros((trees, vectors.shape[0]), dtype=torch.int64)
        steps = int(np.ceil(np.log2(256))) + 1
        columns = vectors.T
        for _ in range(steps):
            values = torch.gather(columns, 0, torch.gather(self.feature, 1, node))
            goes_left = values <= torch.gather(self.limit, 1, node)
            node = torch.where(goes_left, torch.gather(self.left, 1, node), torch.gather(self.right, 1, node))
        mean_depth = torch.gather(self.depth, 1, node).mean(dim=0)
        return torch.exp(-mean_depth * (math.log(2) / self.usual))

    @classmethod
    def fit(cls, vectors: Tensor, trees: int = 100) -> IsolationForest:
        """`trees` trees of at most 256 vectors each."""
        found = SklearnForest(n_estimators=trees, max_samples=min(256, len(vectors)), random_state=_SEED)
        found.fit(vectors.numpy())
        grown = [tree.tree_ for tree in found.estimators_]
        nodes = max(tree.node_count for tree in grown)
        feature, left, right = (np.zeros((trees, nodes), np.int64) for _ in range(3))
        limit, depth = (np.zeros((trees, nodes), np.float32) for _ in range(2))
        for row, tree in enumerate(grown):
            count, leaf = tree.node_count, tree.children_left < 0
            own = np.arange(count)
            feature[row, :count] = np.where(leaf, 0, tree.feature)
            limit[row, :count] = tree.threshold
            left[row, :count] = np.where(leaf, own, tree.children_left)
            right[row, :count] = np.where(leaf, own, tree.children_right)
            for node in own[~leaf]:
                depth[row, tree.children_left[node]] = depth[row, tree.children_right[node]] = depth[row, node] + 1
            depth[row, :count] += np.where(leaf, _average_path(tree.n_node_samples), 0)
        usual = _average_path(np.array([min(256, len(vectors))]))[0]
        return cls(
            torch.from_numpy(feature),
            torch.from_numpy(limit),
            torch.from_numpy(left),
            torch.from_numpy(right),
            torch.from_numpy(depth),
            torch.tensor(usual, dtype=torch.float32),
        )


def _average_path(samples: np.ndarray) -> np.ndarray:
    """Mean depth at which `samples` vectors that share a leaf would be told apart."""
    many = np.maximum(samples, 3).astype(float)
    long = 2 * (np.log(many - 1) + np.euler_gamma) - 2 * (many - 1) / many
    return np.where(samples <= 1, 0.0, np.where(samples == 2, 1.0, long))
