"""A simulated production line: parts, defects, light and camera, rendered the same for the same seed.

    >>> line = LineSimulator("bottle_cap", seed=7)
    >>> frame = line.render(0)
    >>> frame.image.shape, frame.label
    ((480, 640, 3), 'good')

What it offers is loaded on first use: the command line imports this package for its help, OpenCV must not come with it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from producers.simulator.defects import DEFECTS
    from producers.simulator.line import GOOD, LineSimulator, SimulatedFrame
    from producers.simulator.products import PRODUCTS

__all__ = ["DEFECTS", "GOOD", "PRODUCTS", "LineSimulator", "SimulatedFrame"]

_HOMES = {
    "DEFECTS": "defects",
    "GOOD": "line",
    "LineSimulator": "line",
    "PRODUCTS": "products",
    "SimulatedFrame": "line",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
