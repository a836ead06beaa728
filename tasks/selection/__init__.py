"""Labels for texts that have none: a model's surest answers, or a person's, on the texts where they tell most."""

from tasks.selection.active import select
from tasks.selection.opinions import SelectionError
from tasks.selection.pseudo import PseudoLabelled, PseudoLabelReport, pseudo_label
from tasks.selection.sheet import Labelled, read_sheet, write_sheet
from tasks.selection.texts import Unlabelled, read_texts, without_known

__all__ = [
    "Labelled",
    "PseudoLabelReport",
    "PseudoLabelled",
    "SelectionError",
    "Unlabelled",
    "pseudo_label",
    "read_sheet",
    "read_texts",
    "select",
    "without_known",
    "write_sheet",
]
