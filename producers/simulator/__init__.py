"""A simulated production line: parts, defects, light and camera, rendered the same for the same seed.

>>> line = LineSimulator("bottle_cap", seed=7)
>>> frame = line.render(0)
>>> frame.image.shape, frame.label
((480, 640, 3), 'good')
"""

from producers.simulator.defects import DEFECTS
from producers.simulator.line import GOOD, LineSimulator, SimulatedFrame
from producers.simulator.products import PRODUCTS

__all__ = ["DEFECTS", "GOOD", "PRODUCTS", "LineSimulator", "SimulatedFrame"]
