"""Run as a script: a slow run that somebody may kill. Arguments: work dir, number of workers."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import engine_dummy

from densecl.engine.runner import pretrain

STEPS = 40


def sections(workers: int) -> dict:
    return engine_dummy.config(
        schedule={"max_steps": STEPS},
        checkpoint={"every": 2, "keep": 2},
        loader={"num_workers": workers},
    )


if __name__ == "__main__":
    engine_dummy.register()
    after_step = engine_dummy.DummyMethod.after_step

    def slowly(self: engine_dummy.DummyMethod, step: int) -> None:
        after_step(self, step)
        time.sleep(0.02)

    engine_dummy.DummyMethod.after_step = slowly
    pretrain(sections(int(sys.argv[2])), work_dir=sys.argv[1], resume="auto")
