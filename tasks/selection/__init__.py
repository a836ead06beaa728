"""Labels for texts that have none: a model's surest answers, or a person's, on the texts where they tell most."""

from tasks.selection.active import select
from tasks.selection.opinions import SelectionError
from tasks.selection.pseudo import PseudoLabelled, PseudoLabelReport, pseudo_label
from tasks.selection.sheet import Labelled, read_sheet, write_sheet

__all__ = [
    "Labelled",
    "PseudoLabelReport",
    "PseudoLabelled",
    "SelectionError",
    "pseudo_label",
    "read_sheet",
    "select",
    "write_sheet",
]
