"""`python tools/train.py ...` is `densecl pretrain ...`, for launchers that want a file."""

import sys

from densecl.cli import main

sys.exit(main(["pretrain", *sys.argv[1:]]))
