from __future__ import annotations

import io
import random

import numpy as np
import torch

from densecl.engine.rng import capture_rng, restore_rng, seed_everything, untouched_rng


def draw():
    return (torch.rand(3).tolist(), np.random.normal(size=3).tolist(), random.gauss(0, 1))


def test_a_restored_state_repeats_every_draw_after_a_trip_through_a_file():
    seed_everything(5)
    draw()
    stream = io.BytesIO()
    torch.save(capture_rng(), stream)
    stream.seek(0)
    first = draw()
    restore_rng(torch.load(stream, weights_only=True))
    assert draw() == first


def test_untouched_rng_hides_draws_even_when_they_fail():
    seed_everything(7)
    expected = draw()
    seed_everything(7)
    try:
        with untouched_rng():
            draw()
            seed_everything(99)
            raise KeyError
    except KeyError:
        pass
    assert draw() == expected


def test_seeding_repeats_and_seeds_differ():
    seed_everything(1)
    first = draw()
    seed_everything(1)
    assert draw() == first
    seed_everything(2)
    assert draw() != first
