"""HTML to text: main text, headings, title, date, language; labelled records; all lines. Start at `page.extract`."""

from tasks.text.extraction.page import Extracted, Refused, extract
from tasks.text.extraction.records import Record, check_selectors

__all__ = ["Extracted", "Record", "Refused", "check_selectors", "extract"]
