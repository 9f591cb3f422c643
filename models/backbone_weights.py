"""Where the weights of a backbone come from: safetensors files, given or fetched; never pickles, which run code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from sightline.errors import DetectorError

SUFFIX = ".safetensors"
_FILE = "model.safetensors"
_PICKLES = {".bin", ".ckpt", ".npz", ".pickle", ".pkl", ".pt", ".pth", ".pyth"}

Found = TypeVar("Found")


def split_name(name: str) -> tuple[str, Path | None]:
    """`NAME` or `NAME@FILE.safetensors` as name and file; raises DetectorError for a file of another kind."""
    model, _, file = name.rpartition("@")
    path = Path(file)
    if not model or path.suffix not in {SUFFIX, *_PICKLES}:
        return name, None
    return model, require_safe(path)


def require_safe(path: Path) -> Path:
    """`path` if it is named as a safetensors file; raises DetectorError."""
    if path.suffix != SUFFIX:
        raise DetectorError(
            f"weights {path} are not read: only {SUFFIX} files are, because other formats can run code when they are "
            "loaded; convert the tensors with safetensors.torch.save_file where you trust the file"
        )
    return path


def read_weights(path: Path) -> dict[str, Tensor]:
    """A safetensors file, tensors by name; raises DetectorError when it is missing, damaged or of another kind."""
    require_safe(path)
    try:
        return safetensors.torch.load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise DetectorError(f"weights {path} cannot be read ({error}); copy or fetch them again") from error


def fetch_weights(model: str, repository: str) -> Path:
    """The weights of timm's `model` as a file: from the cache, else from `repository` on the Hugging Face hub.

    Raises DetectorError naming both, and what to do instead.
    """
    from huggingface_hub import hf_hub_download

    return Path(reached(model, repository, lambda: hf_hub_download(repository, _FILE)))


def reached(model: str, repository: str, fetch: Callable[[], Found]) -> Found:
    """What `fetch` returns; its failure as a DetectorError that says where the weights of `model` were looked for."""
    from huggingface_hub.constants import HF_HUB_CACHE

    try:
        return fetch()
    # the hub's errors and those of the HTTP client below it share these bases
    except (OSError, ValueError, RuntimeError) as error:
        said = str(error).strip().partition("\n")[0][:300]
        raise DetectorError(
            f"the weights of backbone {model!r} cannot be had: looked for {_FILE} of {repository} in {HF_HUB_CACHE} "
            f"and on the Hugging Face hub ({said}); fetch that file where the hub can be reached and name it as "
            f"{model}@FILE{SUFFIX}, or use 'lite0', which needs no download"
        ) from error
