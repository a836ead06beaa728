"""Files in every format as rows of named values; what a row means is not decided here."""

from tasks.labelled.formats.files import FORMATS, find_sides, format_of, read_rows
from tasks.labelled.formats.row import NoClass, Row

__all__ = ["FORMATS", "NoClass", "Row", "find_sides", "format_of", "read_rows"]
