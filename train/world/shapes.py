"""The coloured shapes of the first generation, as one family among others."""

from __future__ import annotations

import random

from train.questions import draw_task
from train.scene import draw_scene, render
from train.world.canvas import Drawn, Mark
from train.world.task import Scene


def draw_shapes(rng: random.Random) -> Scene:
    scene = draw_scene(rng, tile_size=112)
    marks = tuple(
        Mark(
            thing.box,
            thing.shape,
            colour=thing.colour,
            row=thing.row + 1,
            column=thing.column + 1,
            size=thing.size,
        )
        for thing in scene.things
    )
    drawn = Drawn(render(scene), marks)
    return Scene("shapes", drawn, lambda luck: draw_task(luck, scene))
