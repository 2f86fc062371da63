"""`pointcl curves`: the logged numbers of one or several runs, drawn side by side."""

from __future__ import annotations

from densecl.commands.curves import add_arguments, run

__all__ = ["add_arguments", "run"]
