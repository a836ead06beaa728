"""What a model does with texts of a known kind: CheckList's tests, counterfactual bias, robustness."""

from tasks.behaviour.answers import Answer
from tasks.behaviour.bias import measure_bias
from tasks.behaviour.bias_report import BiasReport
from tasks.behaviour.checklist import run_tests
from tasks.behaviour.results import BehaviourError, BehaviourReport, BehaviourResult, wilson
from tasks.behaviour.robustness import RobustnessReport, ScoreEach, measure_robustness

__all__ = [
    "Answer",
    "BehaviourError",
    "BehaviourReport",
    "BehaviourResult",
    "BiasReport",
    "RobustnessReport",
    "ScoreEach",
    "measure_bias",
    "measure_robustness",
    "run_tests",
    "wilson",
]
