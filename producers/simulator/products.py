"""The products of the simulated line: how each is drawn, what it is made of and what lies behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from producers.simulator import blister_pack, bottle_cap, circuit_board, gear
from producers.simulator.backdrop import Backdrop, belt, plate
from producers.simulator.canvas import Canvas, Colour
from producers.simulator.fault import Fault
from producers.simulator.sprite import Sprite
from sightline.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Product:
    """One kind of part.

    `extent` is the canvas in design units, `roughness` the spread of its highlights, `core` the colour that a scratch
    lays bare and `fracture` that of a break, `thickness` how far its shadow falls, in units, `play`
    the sigma of its turn in the fixture, in radians.
    `backdrop(width, height, scale, seed)` is in pixels.
    """

    name: str
    draw: Callable[[Canvas, Fault | None], None]
    extent: tuple[float, float]
    roughness: float
    core: Colour
    fracture: Colour
    thickness: float
    play: float
    backdrop: Callable[[int, int, float, int], Backdrop]

    def sprite(self, scale: float, seed: int, fault: Fault | None = None) -> Sprite:
        """The part at `scale` pixels a unit; `seed` gives its texture, `fault` what was built wrong."""
        canvas = Canvas.blank(*self.extent, scale, seed)
        self.draw(canvas, fault)
        return Sprite.pack(canvas, self.roughness)


PRODUCTS: dict[str, Product] = {
    product.name: product
    for product in (
        Product(
            name="bottle_cap",
            draw=bottle_cap.draw,
            extent=bottle_cap.EXTENT,
            roughness=bottle_cap.ROUGHNESS,
            core=(0.46, 0.47, 0.47),
            fracture=(0.66, 0.67, 0.67),
            thickness=14.0,
            play=0.018,
            backdrop=partial(belt, colour=(0.20, 0.19, 0.17)),
        ),
        Product(
            name="gear",
            draw=gear.draw,
            extent=gear.EXTENT,
            roughness=gear.ROUGHNESS,
            core=(0.86, 0.87, 0.88),
            fracture=(0.44, 0.45, 0.46),
            thickness=12.0,
            play=0.010,
            backdrop=partial(plate, colour=(0.36, 0.23, 0.15), pitch=64.0),
        ),
        Product(
            name="blister_pack",
            draw=blister_pack.draw,
            extent=blister_pack.EXTENT,
            roughness=blister_pack.ROUGHNESS,
            core=(0.24, 0.24, 0.25),
            fracture=(0.84, 0.84, 0.84),
            thickness=7.0,
            play=0.010,
            backdrop=partial(belt, colour=(0.34, 0.42, 0.30)),
        ),
        Product(
            name="circuit_board",
            draw=circuit_board.draw,
            extent=circuit_board.EXTENT,
            roughness=circuit_board.ROUGHNESS,
            core=(0.42, 0.66, 0.82),
            fracture=(0.44, 0.62, 0.60),
            thickness=6.0,
            play=0.010,
            backdrop=partial(plate, colour=(0.27, 0.27, 0.28)),
        ),
    )
}


def product_named(name: str) -> Product:
    """The product of that name; raises SettingsError with the names there are."""
    try:
        return PRODUCTS[name]
    except KeyError:
        raise SettingsError(f"the simulator has no product {name!r}; choose one of: {', '.join(PRODUCTS)}") from None
