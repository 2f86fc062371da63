"""The main job on the embedded world, in 2D and 3D: pretrain, hand over, fine-tune, compare.

    make quickstart            or: python tools/quickstart.py [--out DIR]

Every part that is finished is kept: started again, it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import quickstart_pictures
import quickstart_scans
from quickstart_parts import Clock, Half

from densecl.cli import message_of
from densecl.data.streets import WORLD_VERSION
from densecl.errors import UsageError
from densecl.files import write_atomically, write_json

TRIAL_SECONDS = 3.0
"""Of each part at toy sizes."""


def main() -> int:
    """Run both halves, print their tables, say where everything lies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("work_dirs/quickstart"))
    parser.add_argument(
        "--trial", action="store_true", help="everything at toy sizes, to see that it works here"
    )
    args = parser.parse_args()
    parts = quickstart_pictures.PARTS | quickstart_scans.PARTS
    clock = Clock(dict.fromkeys(parts, TRIAL_SECONDS) if args.trial else parts)
    try:
        flat = quickstart_pictures.run(args.out, clock, args.trial)
        teacher = flat.checkpoints["DenseCL"]
        deep = quickstart_scans.run(args.out, clock, args.trial, teacher)
    except UsageError as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; start again to go on", file=sys.stderr)
        return 130
    report(args.out, {"2d": flat, "3d": deep}, clock)
    return 0


def report(out: Path, halves: dict[str, Half], clock: Clock) -> None:
    """Write ``summary.json`` and ``table.md``, and print what they say."""
    summary = {name: half.table.to_dict() for name, half in halves.items()}
    about = {"seconds": clock.seconds, "world_version": WORLD_VERSION}
    write_json(out / "summary.json", summary | about)
    sections = [
        "\n\n".join(filter(None, [f"## {half.title}", half.table.to_markdown(), half.notes]))
        for half in halves.values()
    ]
    text = "\n\n".join(sections) + "\n"
    write_atomically(out / "table.md", lambda temporary: temporary.write_text(text, "utf-8"))

    print(f"\n{text}")
    print("seconds:", ", ".join(f"{name} {s:.0f}" for name, s in clock.seconds.items()))
    print(f"total {sum(clock.seconds.values()) / 60:.1f} minutes")
    for name in ("checkpoints", "exports", "pictures"):
        found = [getattr(half, name) for half in halves.values()]
        files = [p for each in found for p in (each.values() if name == "checkpoints" else each)]
        print(f"{name + ':':<13}{', '.join(map(str, files))}")
    print(f"{'tables:':<13}{out / 'table.md'}, {out / 'summary.json'}")
    print(
        f"all of it is in {out}; next, on your own data: densecl pretrain --data PICTURES, "
        "pointcl pretrain --data SCANS"
    )


if __name__ == "__main__":
    sys.exit(main())
