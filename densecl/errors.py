"""The one error a user of the library should ever have to read."""

from __future__ import annotations


class UsageError(ValueError):
    """Bad input, said in three parts: what was given, what is needed, what to do.

    Args:
        given: what was found, with the file, field or option by name.
        needed: what would have been accepted; may be empty when ``given`` says it.
        fix: the next thing to type or change.
    """

    def __init__(self, given: str, *, needed: str = "", fix: str = "") -> None:
        self.given, self.needed, self.fix = given, needed, fix
        lines = [given]
        if needed:
            lines.append(f"  needed: {needed}")
        if fix:
            lines.append(f"  to fix: {fix}")
        super().__init__("\n".join(lines))
