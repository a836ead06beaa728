"""A look at a corpus: what is in it, what was dropped and why, and whether a person may trust it.

`look` reads what the stages wrote, `page` shows it as one HTML file, `summary_markdown` as a few lines.
"""

from tasks.text.look.gather import look
from tasks.text.look.model import CorpusLook
from tasks.text.look.render.page import page
from tasks.text.look.summary import summary_markdown

__all__ = ["CorpusLook", "look", "page", "summary_markdown"]
