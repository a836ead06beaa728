"""Journals of a resumed run repeat nothing and miss nothing; a torn last line does no harm."""

from __future__ import annotations

import json
from pathlib import Path

from bert_core.distributed import World
from bert_core.journal import Journal, read_metrics, read_order


def test_lines_beyond_the_checkpoint_come_again_and_the_torn_one_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    journal = Journal(path, 0, World(), log_order=True)
    for step in range(4):
        journal.order(step, [step * 2, step * 2 + 1])
        journal.write({"kind": "train", "step": step + 1})
    for file in (path, tmp_path / "order" / "rank-0.jsonl"):
        with file.open("a") as torn:
            torn.write('{"kind": "tr')
    assert len(read_metrics(path)) == 4
    again = Journal(path, 2, World(), log_order=True)
    assert [line["step"] for line in read_metrics(path)] == [1, 2]
    assert read_order(tmp_path) == [(0, [0, 1]), (1, [2, 3])]
    again.order(2, [4, 5])
    assert [json.loads(line)["step"] for line in (tmp_path / "order" / "rank-0.jsonl").read_text().splitlines()] == [
        0,
        1,
        2,
    ]
    Journal(path, 0, World())
    assert read_metrics(path) == read_order(tmp_path) == []


def test_the_order_of_a_run_whose_number_of_ranks_changed_is_read_whole(tmp_path: Path) -> None:
    folder = tmp_path / "order"
    folder.mkdir()
    for rank in range(3):
        lines = [{"step": step, "ids": [10 * step + rank]} for step in range(3)]
        (folder / f"rank-{rank}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    journal = Journal(tmp_path / "metrics.jsonl", 2, World(), log_order=True)  # goes on alone from step 2
    journal.order(2, [20, 21, 22])
    assert read_order(tmp_path) == [(0, [0, 1, 2]), (1, [10, 11, 12]), (2, [20, 21, 22])]


def test_only_the_first_rank_writes_metrics_and_nobody_an_order_unless_asked(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "metrics.jsonl", 0, World())
    journal.order(0, [1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl"]
