"""Labelled data of any task type: read from files, split without leaks, checked before anything is trained on it."""

from tasks.labelled.ledger import FileAccount, LabelledDataError
from tasks.labelled.load import LabelledData, load_dataset
from tasks.labelled.report import DataReport, Finding

__all__ = ["DataReport", "FileAccount", "Finding", "LabelledData", "LabelledDataError", "load_dataset"]
