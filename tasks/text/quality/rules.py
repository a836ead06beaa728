"""What a rule is, and the list of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tasks.text.quality.measured import Measured

Objects = Callable[[Measured, Any], bool]


@dataclass(frozen=True)
class Rule:
    """A question to a text as a whole."""

    name: str
    """The field of `QualityConfig` that has its threshold, and the function's name."""
    reason: str
    """Why a text is dropped, without figures."""
    objects: Objects
    """Whether the text is to go, given the threshold."""


RULES: dict[str, Rule] = {}
"""By name, in the order in which the modules of the rules define them."""


def rule(reason: str) -> Callable[[Objects], Objects]:
    """Makes a function the rule of its own name."""

    def add(function: Objects) -> Objects:
        name: str = function.__name__
        RULES[name] = Rule(name, reason, function)
        return function

    return add
