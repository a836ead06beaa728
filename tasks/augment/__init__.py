"""Changed copies of training examples that keep their labels, checked against the sides on which models are judged."""

from tasks.augment.drafts import AugmentError, Substitute, Translate
from tasks.augment.report import AugmentReport, BeforeAfter
from tasks.augment.run import Augmented, augment
from tasks.augment.thesaurus import Thesaurus, ThesaurusError, open_thesaurus

__all__ = [
    "AugmentError",
    "AugmentReport",
    "Augmented",
    "BeforeAfter",
    "Substitute",
    "Thesaurus",
    "ThesaurusError",
    "Translate",
    "augment",
    "open_thesaurus",
]
