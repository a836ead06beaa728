"""Promotion, rollback and their log against a real MLflow server, with processes killed at every step."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tasks.registry import log
from tasks.registry.log import LogError, log_path
from tasks.registry.promotion import History, history, promote, record_refusal, rollback
from tasks.registry.server import RegistryError, client
from tasks.registry.versions import Aliases, aliases, set_alias
from tests.mortals import Mortals

STEPS = ("intent written", "previous moved", "champion moved", "candidate dropped")
PROMOTER = """
import os, signal
from tasks.registry.promotion import promote, rollback

def call(step, action, arguments):
    def die(done):
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)
    {"promote": promote, "rollback": rollback}[action](who="killed", on_step=die, **arguments)
"""


@pytest.fixture(scope="module")
def mortals() -> Iterator[Mortals]:
    with Mortals(PROMOTER) as parent:
        yield parent


@pytest.fixture
def model(mlflow_server, request: pytest.FixtureRequest) -> str:
    """A registered model with three versions. They are empty: promotion moves names, and looks into nothing."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    run = client().create_run("0")
    client().create_registered_model(name)
    for _ in range(3):
        client().create_model_version(name, f"{run.info.artifact_uri}/model", run_id=run.info.run_id)
    return name


def champions(record: History) -> list[str | None]:
    return [reign.version for reign in record.reigns]


def test_promote_moves_the_aliases_and_says_so(model: str) -> None:
    set_alias(model, "candidate", "1")
    first = promote(model, "1", why="first model", who="ann", evidence={"accuracy": 0.83})
    assert aliases(model) == Aliases(champion="1")
    assert first.sentence == f"{model} version 1 promoted to champion: first model"
    set_alias(model, "candidate", "3")
    second = promote(model, "2", why="better", who="bob")
    assert aliases(model) == Aliases(champion="2", previous="1", candidate="3")
    assert (second.previous, second.changed) == ("1", True)
    record = history(model)
    assert champions(record) == ["1", "2"]
    assert record.notes == ()
    assert record.reigns[0].until == record.reigns[1].since
    assert record.reigns[0].entry.evidence == {"accuracy": 0.83}
    assert [reign.entry.who for reign in record.reigns] == ["ann", "bob"]


def test_promoting_the_champion_again_changes_nothing_and_says_so(model: str) -> None:
    promote(model, "1", why="first")
    before = log_path(model).read_bytes()
    again = promote(model, "1", why="again")
    assert not again.changed
    assert again.sentence == f"{model} version 1 is the champion already: nothing to do"
    assert log_path(model).read_bytes() == before


def test_rollback_restores_the_previous_champion_and_can_be_taken_back(model: str) -> None:
    promote(model, "1", why="first")
    promote(model, "2", why="second")
    back = rollback(model, why="2 is rude")
    assert (back.version, back.previous) == ("1", "2")
    assert aliases(model) == Aliases(champion="1", previous="2")
    rollback(model, why="it was a misunderstanding")
    assert aliases(model) == Aliases(champion="2", previous="1")
    assert champions(history(model)) == ["1", "2", "1", "2"]


def test_rollback_without_a_previous_champion_is_an_error(model: str) -> None:
    with pytest.raises(RegistryError, match=f"{model}: nothing to roll back to: it has no champion"):
        rollback(model, why="?")
    promote(model, "1", why="first")
    with pytest.raises(RegistryError, match="nothing to roll back to: version 1 is its champion, and no version has"):
        rollback(model, why="?")


@pytest.mark.parametrize(
    ("version", "message"), [("7", "no version 7; there are: 1, 2, 3"), ("new", "a version is a number, got 'new'")]
)
def test_a_version_that_does_not_exist(model: str, version: str, message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        promote(model, version, why="?")
    assert not log_path(model).exists()


def test_history_answers_who_was_champion_when(model: str) -> None:
    assert history(model) == History(model, (), (), ())
    before = datetime.now(UTC) - timedelta(seconds=1)
    first = datetime.fromisoformat(promote(model, "1", why="first").at)
    second = datetime.fromisoformat(promote(model, "2", why="second").at)
    assert champions(history(model, before)) == []
    assert champions(history(model, first)) == ["1"]
    assert champions(history(model, second)) == ["2"]
    assert champions(history(model, second.replace(tzinfo=None) + timedelta(days=9))) == ["2"]  # naive: UTC


def test_refusals_are_logged_once_and_are_no_reign(model: str) -> None:
    promote(model, "1", why="first")
    entry = record_refusal(model, "2", why="failed 1 of 8 rules: accuracy", evidence={"accuracy": {"passed": False}})
    again = record_refusal(model, "2", why="failed 1 of 8 rules: accuracy")
    assert again == entry
    assert entry.sentence == f"{model} version 2 was refused: failed 1 of 8 rules: accuracy"
    record = history(model)
    assert champions(record) == ["1"]
    assert record.refusals == (entry,)


@pytest.mark.parametrize("step", STEPS)
def test_a_promotion_killed_at_any_step_is_settled_by_the_next_call(model: str, mortals: Mortals, step: str) -> None:
    promote(model, "1", why="first")
    promote(model, "2", why="second")
    set_alias(model, "candidate", "3")
    assert mortals.run(step, "promote", {"model_name": model, "version": "3", "why": "third"}) == -signal.SIGKILL
    took_effect = step in ("champion moved", "candidate dropped")

    seen = history(model)  # reads only, and yet tells the truth
    assert champions(seen) == (["1", "2", "3"] if took_effect else ["1", "2"])
    assert len(seen.notes) == 1

    record_refusal(model, "1", why="any next call settles")
    if took_effect:
        assert aliases(model) == Aliases(champion="3", previous="2")
    else:
        assert aliases(model) == Aliases(champion="2", previous="1", candidate="3")
    settled = history(model)
    assert champions(settled) == champions(seen)
    assert settled.notes == ()
    assert [reign.since for reign in settled.reigns] == [reign.since for reign in seen.reigns]

    assert promote(model, "3", why="third").changed is not took_effect  # the same command again: it is the champion
    assert aliases(model) == Aliases(champion="3", previous="2")
    assert champions(history(model)) == ["1", "2", "3"]


@pytest.mark.parametrize("step", ["previous moved", "champion moved"])
def test_a_rollback_killed_in_between_is_settled_too(model: str, mortals: Mortals, step: str) -> None:
    promote(model, "1", why="first")
    promote(model, "2", why="second")
    assert mortals.run(step, "rollback", {"model_name": model, "why": "back"}) == -signal.SIGKILL
    record_refusal(model, "3", why="any next call settles")
    expected = Aliases("3", "1", "2") if step == "champion moved" else Aliases("3", "2", "1")
    assert aliases(model) == Aliases(None, expected.champion, expected.previous)
    assert champions(history(model)) == (["1", "2", "1"] if step == "champion moved" else ["1", "2"])


def test_a_torn_last_line_is_named_and_cut_off(model: str) -> None:
    promote(model, "1", why="first")
    with log_path(model).open("ab") as file:
        file.write(b'{"action": "promote", "at": "2026-')
    assert history(model).notes == ("the log's last 34 bytes are a torn line; the next promotion cuts them off",)
    promote(model, "2", why="second")
    record = history(model)
    assert champions(record) == ["1", "2"]
    assert record.notes == ()
    assert log_path(model).with_suffix(".torn").read_bytes() == b'{"action": "promote", "at": "2026-\n'


@pytest.mark.parametrize("line", [1, 2, 4])
def test_a_changed_line_is_named_and_nothing_is_written_after_it(model: str, line: int) -> None:
    promote(model, "1", why="first")
    promote(model, "2", why="second")
    lines = log_path(model).read_text("utf-8").splitlines()
    lines[line - 1] = lines[line - 1].replace('"who": "', '"who": "not ')
    log_path(model).write_text("".join(f"{text}\n" for text in lines), "utf-8")
    with pytest.raises(LogError, match=f"line {line}: its sha256 is not that of its content"):
        history(model)
    with pytest.raises(LogError, match=f"line {line}:"):
        promote(model, "3", why="third")
    assert aliases(model).champion == "2"


def test_a_removed_line_and_one_that_is_no_entry_are_named(model: str) -> None:
    promote(model, "1", why="first")
    promote(model, "2", why="second")
    whole = log_path(model).read_text("utf-8").splitlines()
    log_path(model).write_text("".join(f"{text}\n" for text in (whole[0], *whole[2:])), "utf-8")
    with pytest.raises(LogError, match=r"line 2: entry 3 of .* belongs: lines were removed or put in"):
        history(model)
    log_path(model).write_text(f"{whole[0]}\n{json.dumps({'seq': 2})}\n", "utf-8")
    with pytest.raises(LogError, match=r"line 2: not an entry \(at: Field required\)"):
        history(model)


def test_an_alias_moved_by_hand_or_a_log_cut_short_is_seen_and_written_down(model: str) -> None:
    promote(model, "1", why="first")
    set_alias(model, "champion", "3")
    (note,) = history(model).notes
    assert note.startswith("the registry's @champion is version 3, and the log's is version 1")
    promote(model, "2", why="second")
    record = history(model)
    assert champions(record) == ["1", "3", "2"]
    assert record.reigns[1].entry.action == "observe"
    assert record.notes == ()


def test_another_promotion_under_way_is_waited_for_and_named(model: str) -> None:
    held, release = threading.Event(), threading.Event()

    def hold(step: str) -> None:
        held.set()
        release.wait(30)

    slow = threading.Thread(target=promote, args=(model, "1"), kwargs={"why": "x", "who": "ann", "on_step": hold})
    slow.start()
    try:
        assert held.wait(30)
        with pytest.raises(RegistryError, match=rf"under way for over 0.2 s \(ann, process {os.getpid()} on "):
            promote(model, "2", why="too early", timeout_s=0.2)
    finally:
        release.set()
        slow.join()
    assert aliases(model).champion == "1"


def test_promotions_of_many_threads_come_one_after_the_other(model: str) -> None:
    threads = [threading.Thread(target=promote, args=(model, v), kwargs={"why": "race"}) for v in ("1", "2", "3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record = history(model)
    assert sorted(champions(record)) == ["1", "2", "3"]
    now = aliases(model)
    assert [now.previous, now.champion] == champions(record)[1:]


def test_evidence_that_is_not_json_is_refused_before_anything_moves(model: str) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        promote(model, "1", why="first", evidence={"accuracy": float("nan")})
    assert aliases(model) == Aliases()
    assert log.read(model).entries == ()
