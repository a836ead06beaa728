"""Gopher's quality rules (Rae et al., arXiv 2112.11446, appendix A.1.1, "Quality filtering")."""

from __future__ import annotations

from tasks.text.quality.measured import Measured
from tasks.text.quality.rules import rule
from tasks.text.quality.stop_words import stop_words

_BULLETS = ("•", "-", "●", "‣", "*")
_ELLIPSES = ("...", "…")


@rule("gopher: too few words")
def gopher_min_words(text: Measured, least: int) -> bool:
    """The paper: "Remove any document that does not contain between 50 and 100,000 words": signs alone are no words."""
    return text.num_words < least


@rule("gopher: too many words")
def gopher_max_words(text: Measured, most: int) -> bool:
    """The other end of the same sentence."""
    return text.num_words > most


@rule("gopher: mean word length")
def gopher_mean_word_length(text: Measured, bounds: tuple[float, float]) -> bool:
    """The paper: "... mean word length is outside the range of 3 to 10 characters". Not asked without blanks."""
    return text.is_spaced and not bounds[0] <= text.mean_word_length <= bounds[1]


@rule("gopher: too many symbols")
def gopher_max_symbol_ratio(text: Measured, share: float) -> bool:
    """The paper: "A symbol-to-word ratio greater than 0.1 for either the hash symbol or the ellipsis"."""
    counts = text.text.count("#"), text.text.count("...") + text.text.count("…")
    return any(text.share_of_words(count) > share for count in counts if count)


@rule("gopher: too many bullets")
def gopher_max_bullet_lines(text: Measured, share: float) -> bool:
    """The paper: "More than 90% of lines starting with a bullet point": • and its like, datatrove's - and Dolma's *."""
    return sum(line.startswith(_BULLETS) for line in text.lines) > share * len(text.lines)


@rule("gopher: too many ellipses")
def gopher_max_ellipsis_lines(text: Measured, share: float) -> bool:
    """The paper: "More than 30% [of lines] ending with an ellipsis"."""
    return sum(line.endswith(_ELLIPSES) for line in text.lines) > share * len(text.lines)


@rule("gopher: too few words of letters")
def gopher_min_alpha_words(text: Measured, share: float) -> bool:
    """The paper: "80% of words in a document contain at least one alphabetic character".

    Not asked without blanks: there each letter is counted alone, and `min_letter_share` does the same.
    """
    return text.is_spaced and text.alpha_share < share


@rule("gopher: too few stop words")
def gopher_min_stop_words(text: Measured, least: int) -> bool:
    """The paper: "At least two of the following English words: the, be, to, of, and, that, have, with".

    spaCy's stop words in other languages; not asked where spaCy has none. Without blanks a stop word counts wherever
    its characters stand. Compared in lower case, where datatrove wants the case of the list.
    """
    wanted = stop_words(text.language)
    if not wanted:
        return False
    if text.is_spaced:
        found = len(wanted.intersection(text.vocabulary))
        return found < least and len(wanted.intersection(text.lower.split())) < least
    return sum(word in text.text for word in wanted) < least
