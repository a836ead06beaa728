"""Artifacts: identity, publication by one rename, and what is said of damaged ones. Failures are caused."""

from __future__ import annotations

import contextlib
import importlib
import json
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from bert_core.config import Config
from bert_core.files import write_json
from tasks import artifacts
from tasks.artifacts import ArtifactError, ArtifactRef

BUILD = """
import sys
from pathlib import Path
from tasks import artifacts
with artifacts.build("clean", "films", "k" * 64, config=None) as out:
    (out.path / "documents.parquet").write_bytes(b"row" * 1000)
    {trouble}
"""


class Spec(Config):
    threshold: float = 0.5


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path))
    monkeypatch.delenv("BERT_FOUNDRY_STORE", raising=False)
    return tmp_path / "store"


def publish(
    text: str,
    key: str = "k" * 64,
    *,
    name: str = "films",
    as_of: str = "",
    log: str = "",
    inputs: tuple[ArtifactRef, ...] = (),
) -> ArtifactRef:
    with artifacts.build("clean", name, key, config=Spec(), inputs=inputs) as out:
        (out.path / "documents.parquet").write_text(text)
        (out.path / "deep").mkdir()
        (out.path / "deep" / "crawl.log").write_text(log)
        out.volatile.add("deep/crawl.log")
        out.facts["as_of"] = as_of
    found = artifacts.find("clean", name, key)
    assert found is not None
    return found


def in_a_process(trouble: str) -> subprocess.CompletedProcess[str]:
    script = BUILD.format(trouble=trouble)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)


def listing(store: Path) -> list[str]:
    return sorted(path.name for path in (store / "clean").iterdir())


def test_a_build_is_published_whole_and_says_what_it_holds(store: Path) -> None:
    ref = publish("a", as_of="2002-10-04")
    assert listing(store) == ["films-" + "k" * 16]
    manifest = ref.manifest
    assert set(manifest["files"]) == {"documents.parquet", "deep/crawl.log"}
    assert manifest["files"]["documents.parquet"]["bytes"] == 1
    assert manifest["config"] == {"threshold": 0.5}
    artifacts.verify(ref)


def test_kill_in_the_middle_leaves_only_the_partial_folder_and_a_rerun_succeeds(store: Path) -> None:
    killed = in_a_process("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert killed.returncode == -signal.SIGKILL
    assert listing(store) == ["films-" + "k" * 16 + ".partial"]
    assert artifacts.find("clean", "films", "k" * 64) is None
    assert artifacts.latest("clean", "films") is None
    publish("a")
    assert listing(store) == ["films-" + "k" * 16]


def test_an_error_in_the_block_publishes_nothing(store: Path) -> None:
    with pytest.raises(ZeroDivisionError), artifacts.build("clean", "films", "k" * 64, config=None) as out:
        (out.path / "documents.parquet").write_text(str(1 // 0))
    assert artifacts.find("clean", "films", "k" * 64) is None


def broken_off(resume: bool) -> set[str]:
    """The files that an attempt finds; it leaves one more and ends."""
    found: set[str] = set()
    with (
        contextlib.suppress(ZeroDivisionError),
        artifacts.build("pretrain", "films", "k" * 64, config=None, resume=resume) as out,
    ):
        found = {path.name for path in out.path.iterdir()}
        (out.path / "checkpoint").write_text("step 5")
        raise ZeroDivisionError
    return found


def test_a_rerun_starts_from_an_empty_folder_unless_it_resumes() -> None:
    assert broken_off(resume=False) == set()
    assert broken_off(resume=False) == set()
    assert broken_off(resume=True) == {"checkpoint"}


def test_a_full_disk_publishes_nothing_and_a_rerun_succeeds(store: Path) -> None:
    """The limit on a file's size stands for the disk's end: the system refuses the write with an OSError."""
    trouble = f"""
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, {resource.RLIM_INFINITY}))
    (out.path / "rejects.parquet").write_bytes(b"x" * 10_000)"""
    full = in_a_process(textwrap.dedent(trouble).replace("\n", "\n    "))
    assert full.returncode == 1
    assert "OSError" in full.stderr
    assert artifacts.find("clean", "films", "k" * 64) is None
    publish("a")
    assert listing(store) == ["films-" + "k" * 16]


def test_a_disk_that_is_full_at_the_manifest_publishes_nothing(store: Path) -> None:
    """All data is written, and the last file, the manifest, does not fit any more."""
    trouble = f"""
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, {resource.RLIM_INFINITY}))"""
    full = in_a_process(textwrap.dedent(trouble).replace("\n", "\n    "))
    assert "OSError" in full.stderr
    assert artifacts.find("clean", "films", "k" * 64) is None
    assert publish("a")


def test_of_two_builders_of_one_key_the_first_stays(store: Path) -> None:
    with artifacts.build("clean", "films", "k" * 64, config=None, resume=True) as slow:
        (slow.path / "documents.parquet").write_text("slow")
        first = publish_beside(store, "first")
    found = artifacts.find("clean", "films", "k" * 64)
    assert found is not None
    assert found.content == first.content
    assert listing(store) == ["films-" + "k" * 16]


def publish_beside(store: Path, text: str) -> ArtifactRef:
    """Publish the key from another store, and move it into ours, as another machine on a shared disk would."""
    other = store.parent / "other"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BERT_FOUNDRY_STORE", str(other))
        ref = publish(text)
    Path(ref.path).rename(store / "clean" / Path(ref.path).name)
    return ref


def test_the_key_is_of_config_code_and_input_content() -> None:
    ref = publish("a")

    def key(config: Any = None, inputs: Any = (ref,), code: str = "c", stage: str = "dedup") -> str:
        return artifacts.stage_key(stage, config or Spec(), inputs, code)

    other_content = ref.model_copy(update={"content": "0" * 64})
    changed = [key(Spec(threshold=0.6)), key(code="d"), key(inputs=(other_content,)), key(inputs=()), key(stage="x")]
    changed += [key(inputs=(ref, None))]
    assert len({key(), *changed}) == 1 + len(changed)


def test_the_key_is_not_of_paths_keys_or_nights() -> None:
    first = publish("a", "1" * 64, as_of="2002-10-04")
    second = publish("a", "2" * 64, as_of="2002-10-05")
    moved = first.model_copy(update={"path": "/elsewhere"})
    keys = {artifacts.stage_key("dedup", Spec(), (ref,), "c") for ref in (first, second, moved)}
    assert len(keys) == 1


def test_equal_content_from_another_key_stops_the_rebuild_downstream() -> None:
    """Early cutoff: the crawl ran again under another key and found nothing new, so what follows is found."""
    first, again = publish("a", "1" * 64), publish("a", "2" * 64)
    assert first.key != again.key
    assert first.content == again.content
    changed = publish("b", "3" * 64)
    assert changed.content != first.content


def test_volatile_files_are_listed_and_do_not_count(store: Path) -> None:
    first, again = publish("a", "1" * 64, log="at noon"), publish("a", "2" * 64, log="at night")
    assert first.content == again.content
    assert first.manifest["files"]["deep/crawl.log"] != again.manifest["files"]["deep/crawl.log"]


def test_find_names_a_truncated_and_a_missing_file() -> None:
    ref = publish("abcdef")
    (ref / "documents.parquet").write_text("abc")
    with pytest.raises(ArtifactError, match=r"documents\.parquet: .* 6 bytes and the disk holds 3 bytes; remove "):
        artifacts.find("clean", "films", ref.key)
    (ref / "documents.parquet").unlink()
    with pytest.raises(ArtifactError, match=r"documents\.parquet: .* holds nothing; remove "):
        artifacts.find("clean", "films", ref.key)


def test_verify_names_a_changed_byte_that_find_cannot_see() -> None:
    ref = publish("abcdef")
    (ref / "documents.parquet").write_text("abcdeF")
    assert artifacts.find("clean", "films", ref.key) == ref
    with pytest.raises(ArtifactError, match=r"documents\.parquet: sha256 is .* the manifest lists .* remove "):
        artifacts.verify(ref)


def test_verify_names_a_file_that_is_gone() -> None:
    ref = publish("abcdef")
    (ref / "documents.parquet").unlink()
    with pytest.raises(ArtifactError, match=r"documents\.parquet: gone, .*remove "):
        artifacts.verify(ref)


@pytest.mark.parametrize("torn", ["", '{"files": {', "null", '{"files": {}}'])
def test_a_torn_manifest_is_named(torn: str) -> None:
    ref = publish("a")
    (ref / "manifest.json").write_text(torn)
    for look in (
        lambda: artifacts.find("clean", "films", ref.key),
        lambda: artifacts.latest("clean", "films"),
        lambda: artifacts.verify(ref),
    ):
        with pytest.raises(ArtifactError, match=r"manifest\.json: .*remove .* to have it built again"):
            look()


def test_latest_goes_by_the_night_and_not_by_the_clock() -> None:
    publish("b", "2" * 64, as_of="2002-10-05")
    publish("a", "1" * 64, as_of="2002-10-04")  # an earlier night, run later
    publish("c", "3" * 64, as_of="2002-10-06", name="films-two")

    def night(before: str | None) -> str | None:
        found = artifacts.latest("clean", "films", before=before)
        return found and found.key[0]

    assert [night(before) for before in (None, "2002-10-06", "2002-10-05", "2002-10-04")] == ["2", "2", "1", None]


def test_a_folder_of_weights_has_a_content_and_a_missing_one_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "vocab.txt").write_text("a")
    before = artifacts.folder_content(tmp_path / "weights")
    (tmp_path / "weights" / "vocab.txt").write_text("b")
    assert artifacts.folder_content(tmp_path / "weights") != before
    with pytest.raises(ArtifactError, match=r"nowhere: no such folder; `make data`"):
        artifacts.folder_content(tmp_path / "nowhere")


def test_a_reader_never_sees_half_a_json_file(tmp_path: Path) -> None:
    target = tmp_path / "plan.json"
    write_json(target, {"a": 1})
    with pytest.raises(TypeError):
        write_json(target, {"a": object()})
    assert json.loads(target.read_text()) == {"a": 1}


CODE = {
    "tasks_of_test/__init__.py": "",
    "tasks_of_test/stage.py": '"""About."""\nfrom tasks_of_test import part\n\n\ndef run():\n    return part.two()\n',
    "tasks_of_test/part.py": '"""Doc."""\n\n\ndef two():\n    """Two."""\n    return 2  # the number\n',
    "tasks_of_test/stranger.py": "VALUE = 1\n",
}


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of real files that counts as the project's, for as long as the test runs."""
    folder = tmp_path / "code"
    for name, text in CODE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "tasks_of_test", raising=False)  # of the test before, in another folder
    monkeypatch.setattr(artifacts, "PROJECT_PACKAGES", ("tasks_of_test",))
    return folder / "tasks_of_test"


def hash_now() -> str:
    artifacts.code_hash.cache_clear()
    importlib.invalidate_caches()
    return artifacts.code_hash("tasks_of_test.stage")


def test_code_is_what_runs_and_not_how_it_is_written(code: Path) -> None:
    before = hash_now()
    (code / "stage.py").write_text(
        '"""Other words."""\n\n# why\nfrom tasks_of_test import part\n\ndef run():\n    """Says more."""\n'
        "    return (\n        part.two()\n    )\n"
    )
    (code / "part.py").write_text("def two():\n    return 2\n")
    (code / "stranger.py").write_text("VALUE = 2\n")
    assert hash_now() == before


def test_code_of_an_imported_module_counts(code: Path) -> None:
    before = hash_now()
    (code / "part.py").write_text("def two():\n    return 3\n")
    assert hash_now() != before


def test_code_of_a_new_import_counts_and_then_its_changes(code: Path) -> None:
    (code / "part.py").write_text("def two():\n    from tasks_of_test.stranger import VALUE\n\n    return VALUE\n")
    before = hash_now()
    (code / "stranger.py").write_text("VALUE = 2\n")
    assert hash_now() != before


def test_c_beside_a_package_that_is_imported_counts(code: Path) -> None:
    before = hash_now()
    (code / "__init__.py").touch()
    (code / "kernel.c").write_text("int two(void) { return 2; }")
    (code / "stage.py").write_text("import tasks_of_test\n" + (code / "stage.py").read_text())
    with_c = hash_now()
    (code / "kernel.c").write_text("int two(void) { return 3; }")
    assert len({before, with_c, hash_now()}) == 3


def test_of_the_real_modules_training_hashes_the_model_and_not_the_plumbing() -> None:
    artifacts.code_hash.cache_clear()
    training, cleaning = artifacts.code_hash("bert_core.train"), artifacts.code_hash("tasks.clean")
    assert training != cleaning
    assert {"bert_core.model", "bert_core.order", "bert_core.objectives.masking"} <= artifacts._modules_behind(
        "bert_core.train"
    )
    assert artifacts.code_hash("bert_core.train") == training
    assert "bert_core.kernels" in artifacts._modules_behind("bert_core.train"), "whose C counts, by the test above"
