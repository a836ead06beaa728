"""Names of people, by a spaCy pipeline with named entities."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.text.analysis import load
from tasks.text.privacy.spans import Span

_PERSON = frozenset({"PERSON", "PER", "persName", "PRS"})
"""What the pipelines of spaCy's languages call a person."""


def names(text: str, model: str) -> Iterator[Span]:
    """What the pipeline takes for people. A small model finds some four in five, and takes other words for names.

    Raises:
        MissingModel: no such pipeline is installed.
    """
    for entity in load(model, needs="ner")(text).ents:
        if entity.label_ in _PERSON:
            yield Span(entity.start_char, entity.end_char, "name")
