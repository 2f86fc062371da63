"""`python tools/export.py ...` is `densecl export ...`."""

import sys

from densecl.cli import main

sys.exit(main(["export", *sys.argv[1:]]))
