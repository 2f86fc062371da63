"""Memory: queue, EMA teacher, centre and schedules; state in registered buffers, nothing else."""

from __future__ import annotations

from densecl.memory.centre import Centre
from densecl.memory.ema import EMA
from densecl.memory.queue import Queue
from densecl.memory.schedules import Schedule, build_schedule, constant, cosine, linear, step

__all__ = [
    "EMA",
    "Centre",
    "Queue",
    "Schedule",
    "build_schedule",
    "constant",
    "cosine",
    "linear",
    "step",
]
