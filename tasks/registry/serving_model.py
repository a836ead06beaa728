"""What MLflow runs to serve a version: its "model from code", logged as source next to the weights, never pickled.

It may import `bert_core`, which is logged with it, and nothing else of this project.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from bert_core.predict import InputError, Predictor


class TextClassifier(PythonModel):
    """A frame with the column `text` -> label, score, probabilities (by label) and note of each row."""

    def load_context(self, context: Any) -> None:
        self._predictor = Predictor(context.artifacts["model"])

    # MLflow reads a hint here as the input's schema; the signature that is logged with the model is that already
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        try:
            predictions = self._predictor.predict(_texts(model_input))
        except InputError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error  # the server answers 400
        columns = ("label", "score", "probabilities", "note")
        return pd.DataFrame([{name: getattr(each, name) for name in columns} for each in predictions], columns=columns)


def _texts(model_input: Any) -> list[str]:
    if isinstance(model_input, pd.DataFrame):
        if "text" not in model_input.columns:
            raise InputError(f"no column 'text' in the input; it has {list(model_input.columns)}")
        return list(model_input["text"])
    return [model_input] if isinstance(model_input, str) else list(model_input)


set_model(TextClassifier())
