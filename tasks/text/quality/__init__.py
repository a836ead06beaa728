"""Which texts are good enough: one named rule for each threshold of `tasks.config.quality.QualityConfig`.

A word is what stands between blanks, as in Dolma's taggers (arXiv 2402.00159); datatrove
counts the tokens of a tokenizer, to which every comma is one more word. Languages that are written without blanks are
judged as `measured.py` says.
"""

from tasks.text.quality.judge import Judge, Verdict, judge

__all__ = ["Judge", "Verdict", "judge"]
