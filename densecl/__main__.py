"""`python -m densecl` is the same as `densecl`."""

import sys

from densecl.cli import main

sys.exit(main())
