"""All things by their names, and what people call them."""

from __future__ import annotations

from lib_unet_viz.demo.things.animals import MAMMALS
from lib_unet_viz.demo.things.creatures import CREATURES
from lib_unet_viz.demo.things.drawing import Thing
from lib_unet_viz.demo.things.figures import FIGURES
from lib_unet_viz.demo.things.food import FOOD
from lib_unet_viz.demo.things.household import HOUSEHOLD
from lib_unet_viz.demo.things.places import BUILDINGS, NATURE
from lib_unet_viz.demo.things.vehicles import VEHICLES
from lib_unet_viz.demo.things.wear import WEAR

THINGS: dict[str, Thing] = {
    thing.name: thing
    for thing in (
        *MAMMALS,
        *CREATURES,
        *FIGURES,
        *FOOD,
        *WEAR,
        *VEHICLES,
        *BUILDINGS,
        *NATURE,
        *HOUSEHOLD,
    )
}
