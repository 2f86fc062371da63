"""`densecl export`: hand a backbone over to another library, with a proof."""

from __future__ import annotations

import argparse
from pathlib import Path

TARGETS = ("mmseg", "torchvision", "safetensors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Source, target, file."""
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--to", choices=TARGETS, default="mmseg", dest="target")
    parser.add_argument("--out", type=Path, help="default: beside the checkpoint")
    parser.add_argument("--branch", choices=("online", "teacher"), help="default: the method's")
    parser.add_argument("--key-map", action="store_true", help="print every key's new name")


def run(args: argparse.Namespace) -> int:
    """Write the file and print verdict, key map and what to paste; 1 if it was refused."""
    from densecl.weights import export

    suffix = "safetensors" if args.target == "safetensors" else "pth"
    out = args.out or args.checkpoint.with_name(f"{args.checkpoint.stem}_{args.target}.{suffix}")
    report = export(args.checkpoint, args.target, out, branch=args.branch)
    print(report if args.key_map else report.summary())
    if report.verdict == "refused":
        return 1
    if not args.key_map:
        print(f"\n{report.snippet}")
    print(f"written to {report.path}")
    return 0
