"""What an evaluation found, as one page and as Markdown."""

from densecl.report.writer import HTML, MARKDOWN, Report, write

__all__ = ["HTML", "MARKDOWN", "Report", "write"]
