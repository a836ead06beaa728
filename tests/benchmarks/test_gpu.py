from __future__ import annotations

import re

import gpu
import pytest
import torch


@pytest.mark.slow
def test_the_script_runs_on_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--tiny", "--corpus", "film-reviews"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["bert"] * 4 + ["modernbert"] * 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.timeout(1800)
def test_bert_base_uses_most_of_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    """55% of the peak on one H200, at every length, and faster than transformers and than a bare loop needs to be."""
    assert gpu.main(["--families", "bert"]) == 0
    printed = capsys.readouterr().out
    steps = re.findall(r"^bert +\d+ ours, step .*?MFU +(\d+)%.*?([\d.]+) x transformers", printed, re.MULTILINE)
    assert len(steps) == 3, printed
    for mfu, faster in steps:
        assert float(faster) > 1, printed
        if "H200" in printed:
            assert int(mfu) >= 100 * gpu.GOAL, printed


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_step_never_waits_for_the_gpu() -> None:
    corpus = gpu.prepare("film-reviews")
    shape = gpu.shapes(tiny=True, longest=128)["bert"]
    setting = gpu.Setting("bert", shape, 128, 8, torch.device("cuda"), compile=False)
    runner = gpu.our_step(setting, corpus)
    runner.run(3)  # warms up: kernels are chosen, the optimizer's state is made
    torch.cuda.set_sync_debug_mode("error")
    try:
        runner.run(3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
