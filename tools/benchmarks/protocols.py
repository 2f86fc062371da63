"""What one run of each protocol of the `streets` suites costs on one core.

Random weights of the smoke tier's backbones, the first label subset and the first point of the
grid: a cell of a table. Pictures and scans are rendered before the clock starts; a run reads them
from memory. Fitting is what is learned from labels, a memory filled or a head trained; scoring is
of the validation part.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import timing

from densecl.engine.config import load_config, plain_config
from densecl.evaluation.suite import read_suite
from densecl.studies.of_images import PICTURES
from densecl.transfer.protocol_file import ProtocolFile, read_protocol
from densecl.transfer.subsets import draw_for
from densecl.transfer.tables import num_classes, open_parts
from pointcl.studies.of_scans import SCANS

SMOKE = {
    PICTURES: "densecl_r18w32_1xb32-500s_streets-64px",
    SCANS: "pointcontrast_unet14w8_1xb2-120s_streets-50cm",
}
QUICK = {PICTURES: "retrieval_streets", SCANS: "streets_lidar_retrieval"}
FEW = ("data.train.length=4", "data.val.length=1")


def protocols(kind: Any, quick: bool) -> list[ProtocolFile]:
    """Those of the suite, or one of them on a handful of items."""
    transfer = kind.transfer
    if quick:
        return [read_protocol(QUICK[kind], FEW, kind=transfer)]
    names = read_suite("streets", transfer.domain).protocols
    return [read_protocol(name, kind=transfer) for name in names]


def cell(protocol: ProtocolFile, kind: Any) -> list[object]:
    """Run one cell; a row of the table."""
    data = open_parts(protocol, test=False)
    config = plain_config(load_config(SMOKE[kind], {}, domain=kind.transfer.domain))
    known = kind.input_of(config, SMOKE[kind])
    task: Any = kind.transfer.task_for(protocol, known, num_classes(data), "cpu")
    task = task.at(protocol.learning_rates[0])
    train: Any = None
    share = "-"
    if protocol.learns:
        fraction = protocol.fractions[0]
        drawn = draw_for(data["train"], [fraction], (0,), blocks=protocol.blocks)
        train = task.select(data["train"], drawn[fraction][0].indices(data["train"]))
        share = f"{fraction * 100:g} %: {len(train)}"
    scored = task.select(data["val"])
    for items in (train, scored):
        for position in range(0 if items is None else len(items)):
            items[position]
    cpu, wall = time.process_time(), time.perf_counter()
    result, _ = task.run(None, train, scored, seed=0, device="cpu")
    spent = time.process_time() - cpu, time.perf_counter() - wall
    scoring = float(result["seconds"]["evaluate"])
    fitting = spent[1] - scoring if protocol.learns else "-"
    each = f"{1e3 * scoring / len(scored):.0f}"
    return [protocol.name, share, len(scored), spent[0], spent[1], fitting, each]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for pictures and one for scans."""
    options = timing.parser(__doc__).parse_args(arguments)
    timing.prepare(options)
    for kind, what in ((PICTURES, "picture"), (SCANS, "scan")):
        rows = [cell(protocol, kind) for protocol in protocols(kind, options.quick)]
        head = ["protocol", f"labelled {what}s", f"scored {what}s", "CPU s", "wall s"]
        head += ["of it fitting, s", f"scoring, ms a {what}"]
        timing.table(f"One run of each protocol: {what}s of the streets", head, rows)


if __name__ == "__main__":
    main()
