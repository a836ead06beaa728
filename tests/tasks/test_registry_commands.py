"""`bert-foundry promote | rollback | history | predict` against a real registry (the server is of this folder)."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bert_core.predict import Predictor
from flows import registry_commands
from tasks.config import RegisterConfig
from tasks.registry.versions import register
from tests.mlflow_servers import MlflowServer


@pytest.fixture(scope="module")
def versions(running_mlflow: MlflowServer, tiny_classifier: Path) -> str:
    """A model of two versions, of which the second is @candidate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", running_mlflow.address)
        config = RegisterConfig(model_name="commanded", experiment="commanded")
        for artifact in ("a1", "a2"):
            register(config, tiny_classifier, tags={"artifact": artifact}, metrics={}, evidence=None, run_name="r")
    return config.model_name


def call(command: str, *arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(getattr(registry_commands, command), [*arguments, "--model", "commanded"], input=stdin)


def test_promote_roll_back_look_and_ask(
    mlflow_server: MlflowServer, versions: str, tiny_classifier: Path, tmp_path: Path
) -> None:
    nobody = call("predict", "a bore")
    assert nobody.exit_code == 1
    assert "commanded has no champion yet" in nobody.output
    assert call("promote", "1", "--why", "first").output == "commanded version 1 promoted to champion: first\n"
    assert "version 2 promoted to champion (was version 1): better" in call("promote", "--why", "better").output
    missing = call("promote", "--why", "again")
    assert missing.exit_code == 2
    assert "has no @candidate now" in missing.output
    assert (
        "version 1 made champion again by a rollback (was version 2): rude" in call("rollback", "--why", "rude").output
    )

    lines = call("history").output.splitlines()
    assert [line.split("version ")[1].split()[0] for line in lines] == ["1", "2", "1"]
    assert lines[-1].split("to now")[1].split()[:3] == ["version", "1", "rollback"]
    assert call("history", "--at", "2001-01-01").output == "commanded: nobody was champion at 2001-01-01\n"
    wrong = call("history", "--at", "yesterday")
    assert wrong.exit_code == 2
    assert "expected ISO 8601" in wrong.output
    assert [reign["version"] for reign in json.loads(call("history", "--json").output)["reigns"]] == ["1", "2", "1"]

    (expected,) = Predictor(tiny_classifier).predict(["a bore"])
    assert call("predict", "a bore").output == f"{expected.label}\t{expected.score:.3f}\n"
    assert call("predict", "-", stdin="a bore\n\n").output == f"{expected.label}\t{expected.score:.3f}\ta bore\n"
    (tmp_path / "reviews.txt").write_text("a bore\n" * 600, "utf-8")
    answers = [
        json.loads(line)
        for line in call("predict", "--file", str(tmp_path / "reviews.txt"), "--json").output.splitlines()
    ]
    assert len(answers) == 600
    assert answers[0]["text"] == "a bore"
    assert answers[599]["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        ((), None, "exactly one of them"),
        (("a", "--file", "-"), "b", "exactly one of them"),
        (("-",), "\n \n", "there is no text in the input"),
        (("--file", "missing.txt"), None, "missing.txt"),
    ],
)
def test_predict_explains_what_it_wants(
    mlflow_server: MlflowServer, arguments: tuple[str, ...], stdin: str | None, message: str
) -> None:
    result = call("predict", *arguments, stdin=stdin)
    assert result.exit_code != 0
    assert message in result.output
