"""`python tools/transfer.py ...` is `densecl transfer ...`."""

import sys

from densecl.cli import main

sys.exit(main(["transfer", *sys.argv[1:]]))
