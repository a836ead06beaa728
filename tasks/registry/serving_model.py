"""What MLflow runs to serve a version: its "model from code", logged as source next to the weights, never pickled.

It may import `bert_core`, which is logged with it, and nothing else of this project.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from bert_core.predict import INPUTS, InputError, open_model


class FineTunedModel(PythonModel):
    """A frame with the columns of the model's task -> one row of answers for each row; see the signature."""

    def load_context(self, context: Any) -> None:
        self._predictor = open_model(context.artifacts["model"])

    # MLflow reads a hint here as the input's schema; the signature that is logged with the model is that already
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        try:
            answers = self._predictor.serve(_examples(model_input, INPUTS[self._predictor.task.type]))
        except InputError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error  # the server answers 400
        return pd.DataFrame(answers)


def _examples(model_input: Any, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows of a frame, texts, or dicts, as dicts of the columns wanted."""
    if isinstance(model_input, str):
        model_input = [model_input]
    if not isinstance(model_input, pd.DataFrame):
        rows = [row if isinstance(row, dict) else {columns[0]: row} for row in model_input]
        model_input = pd.DataFrame(rows)
    if missing := [name for name in columns if name not in model_input.columns]:
        raise InputError(f"no column {missing[0]!r} in the input; it has {list(model_input.columns)}")
    return [{name: _plain(row[name]) for name in columns} for row in model_input.to_dict("records")]


def _plain(value: Any) -> Any:
    """Lists arrive from MLflow as numpy arrays."""
    return value.tolist() if hasattr(value, "tolist") else value


set_model(FineTunedModel())
