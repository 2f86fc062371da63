"""How long what is left will take, by what was measured so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

from densecl.transfer.run import clock
from densecl.transfer.tables import PlannedTable


class Pace:
    """Seconds a run, learned table by table."""

    def __init__(self) -> None:
        self._by_protocol: dict[str, float] = {}
        self._by_run: dict[str, float] = {}

    def learn(self, table: PlannedTable) -> None:
        """Take over what the finished runs of a table took."""
        each = seconds_per_run(table)
        if each is not None:
            self._by_protocol[table.identity.hash] = each
            self._by_run[table.identity.run] = each

    def seconds(self, table: PlannedTable) -> float | None:
        """What the missing runs of a table will take; None where nothing like it was measured."""
        each = seconds_per_run(table)
        if each is None:
            run = table.identity.run
            each = self._by_protocol.get(table.identity.hash, self._by_run.get(run))
        missing = table.study.total() - table.study.count()
        return 0.0 if not missing else None if each is None else each * missing

    def left(self, tables: Sequence[PlannedTable]) -> str:
        """What is left, in words."""
        for table in tables:
            self.learn(table)
        known = [seconds for table in tables if (seconds := self.seconds(table)) is not None]
        total = sum(table.study.total() - table.study.count() for table in tables)
        if not total:
            return "nothing left to run"
        unknown = [table.protocol.name for table in tables if self.seconds(table) is None]
        names = ", ".join(dict.fromkeys(unknown))
        about = [f"about {clock(math.fsum(known))}"] if math.fsum(known) else []
        about += [f"no run of {names} was timed yet"] if unknown else []
        tests = " before the test splits are read" if any(table.test for table in tables) else ""
        return f"{total} runs left{tests}, {', and '.join(about)}"


def seconds_per_run(table: PlannedTable) -> float | None:
    """Mean over the finished runs of a table."""
    study = table.study
    spent = [
        math.fsum(result["seconds"].values())
        for row in study.rows
        for position, pair in enumerate(study.pairs)
        for rate in study.rates(row, position) or ()
        if (result := study.finished(row, pair, rate)) is not None
    ]
    return math.fsum(spent) / len(spent) if spent else None
