"""Reading weight files safely, recognising published layouts, and verified export."""

from densecl.weights.export import ExportReport, export
from densecl.weights.load import load_backbone
from densecl.weights.reader import Contents, read_weights
from densecl.weights.schema import SCHEMA

__all__ = ["SCHEMA", "Contents", "ExportReport", "export", "load_backbone", "read_weights"]
