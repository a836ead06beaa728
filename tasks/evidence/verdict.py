"""What the gate says of a candidate: every rule, and how it fared."""

from __future__ import annotations

from dataclasses import dataclass


class GateError(ValueError):
    """Input from which no verdict follows; the message names the column and the offending value."""


@dataclass(frozen=True)
class RuleResult:
    """One rule and how the candidate fared."""

    name: str
    passed: bool
    value: float | None
    """What was measured; None: there was nothing to measure."""
    threshold: float | None
    """What was asked for; None: the policy sets no limit."""
    detail: str


@dataclass(frozen=True)
class Verdict:
    """Every rule of the policy, in a fixed order, whether passed or failed; passes only if all of them do."""

    rules: tuple[RuleResult, ...]

    @property
    def passed(self) -> bool:
        return all(rule.passed for rule in self.rules)

    @property
    def failed(self) -> tuple[RuleResult, ...]:
        return tuple(rule for rule in self.rules if not rule.passed)

    @property
    def summary(self) -> str:
        """One line: what a log entry or a run's name can hold."""
        if self.passed:
            return f"passed all {len(self.rules)} rules"
        return f"failed {len(self.failed)} of {len(self.rules)} rules: " + "; ".join(
            f"{rule.name} ({rule.detail})" for rule in self.failed
        )

    def table(self) -> list[dict[str, str]]:
        """Rows for a table artifact."""
        return [
            {
                "rule": rule.name,
                "verdict": "pass" if rule.passed else "FAIL",
                "value": _figure(rule.value),
                "threshold": _figure(rule.threshold),
                "detail": rule.detail,
            }
            for rule in self.rules
        ]

    def markdown(self) -> str:
        """The verdict and a table of its rules; pipes inside a cell are escaped."""
        header = ["rule", "verdict", "value", "threshold", "detail"]
        rows = [[row[name].replace("|", "\\|") for name in header] for row in self.table()]
        lines = [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
        return "\n".join([f"**{'Passed' if self.passed else 'Refused'}**: {self.summary}", "", *lines])

    def evidence(self) -> dict[str, object]:
        """The verdict as JSON, for the promotion log."""
        return {
            rule.name: {"passed": rule.passed, "value": rule.value, "threshold": rule.threshold} for rule in self.rules
        }


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
