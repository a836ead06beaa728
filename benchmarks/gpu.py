"""BERT-base and the modern base encoder on one GPU, bf16, rows of 128, 512 and 2,048 tokens: tokens a second and MFU.

Four sides take turns in one process, on the same number of tokens a step, with dropout 0.1 where the family has it:

    ours, step      our step on packed rows (real documents that do not see each other; varlen attention, no mask
                    matrix), batches already on the GPU
    ours, loop      `bert_core.train.run` itself on the same text, loader, clipping and logging included
    transformers    BertForMaskedLM or ModernBertForMaskedLM (sparse_prediction on), full rows without padding or mask,
                    sdpa, or flash attention where the package flash_attn is there; batches already on the GPU
    plain           a bare loop: fused query-key-value, scaled_dot_product_attention without a mask, logits at predicted
                    positions only, fused AdamW; no dropout, no clipping, a bound for what PyTorch gives without effort

MFU is operations that a step needs, over its seconds, over the peak of the device (`bert_core.flops`: H100 and H200
989e12 a second in bf16, dense, by NVIDIA's data sheets). Operations, forward and backward, for n tokens, p of them
predicted, in L layers of width C and inner width I, a vocabulary of V:

    3 x [ 2 n (4 C^2 + m C I) L + 4 C a L + 2 p (C^2 + C V) ]     m = 2, or 3 for a GeGLU

where a are the pairs of tokens that see each other, less what the last block saves at tokens that are not predicted.
Each side has the pairs of its own data: ours those inside documents (and inside windows in local layers), the others T
for each token. Logits or products that a side makes without need count for none.

Expected, and not yet measured by us on such a card: ours at 55% MFU or more on one H200 for BERT-base at all three
lengths, with 65,536 tokens a step.

    python benchmarks/gpu.py [--lengths 128 512 2048] [--tokens 65536] [--steps 20] [--compile] [--profile FILE]
    python benchmarks/gpu.py --tiny      # on a CPU, in a minute: that the code runs; its figures mean nothing
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gpu_plain
import pretraining_ours
import torch
from pretraining_texts import Corpus, prepare

from bert_core.config import ModelConfig
from bert_core.flops import batch_shape, peak_flops, training_flops

GOAL = 0.55
MASKED = 0.15
BATCHES = 8


@dataclass(frozen=True)
class Setting:
    """What all sides of one table share."""

    family: str
    shape: ModelConfig
    length: int
    rows: int
    device: torch.device
    compile: bool

    @property
    def tokens(self) -> int:
        return self.rows * self.length


@dataclass
class Runner:
    """One side: `run(n)` does n steps and returns the tokens in them, without padding."""

    run: Callable[[int], int]
    operations: float
    """For each token."""


def shapes(tiny: bool, longest: int) -> dict[str, ModelConfig]:
    if tiny:
        small = {"num_layers": 4, "hidden_size": 64, "num_heads": 2, "vocab_size": 30_522, "max_positions": longest}
        bert = ModelConfig(**small, intermediate_size=256)
        modern = {"family": "modernbert", **small, "intermediate_size": 168, "local_window": 32}
        return {"bert": bert, "modernbert": ModelConfig.model_validate(modern)}
    bert = ModelConfig.model_validate({"family": "bert", "size": "base", "max_positions": max(512, longest)})
    modern = ModelConfig.model_validate({"family": "modernbert", "size": "base", "vocab_size": 30_522})
    return {"bert": bert, "modernbert": modern}


def operations_a_token(shape: ModelConfig, lengths: list[int]) -> float:
    """Of documents of these lengths."""
    return training_flops(shape, batch_shape(shape, lengths, round(MASKED * sum(lengths)))) / sum(lengths)


def our_step(setting: Setting, corpus: Corpus) -> Runner:
    step, batches = pretraining_ours.device_step(
        corpus, setting.shape, setting.rows, setting.length, setting.device, BATCHES, compile=setting.compile
    )
    done = 0

    def run(steps: int) -> int:
        nonlocal done
        tokens = 0
        for number in range(done, done + steps):
            tokens += batches[number % len(batches)].num_tokens
            step(batches[number % len(batches)])
        done += steps
        return tokens

    # Padding at a row's end is one more document here: at most a percent of the tokens.
    lengths = [length for batch in batches for length in batch.cu_seqlens.diff().tolist()]
    return Runner(run, operations_a_token(setting.shape, lengths))


def transformers_model(setting: Setting) -> torch.nn.Module:
    from transformers import BertConfig, BertForMaskedLM, ModernBertConfig, ModernBertForMaskedLM

    shape = setting.shape
    implementation = "flash_attention_2" if importlib.util.find_spec("flash_attn") else "sdpa"
    common: dict[str, Any] = {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "intermediate_size": shape.intermediate_size,
        "max_position_embeddings": shape.max_positions,
        "attn_implementation": implementation,
    }
    if setting.family == "bert":
        return BertForMaskedLM(BertConfig(**common))
    ends = {"pad_token_id": 0, "cls_token_id": 101, "sep_token_id": 102, "bos_token_id": 101, "eos_token_id": 102}
    return ModernBertForMaskedLM(
        ModernBertConfig(**common, **ends, sparse_prediction=True, local_attention=shape.local_window or 128)
    )


def peer_step(setting: Setting, model: torch.nn.Module, is_plain: bool) -> Runner:
    """Full rows of random tokens: no padding, no mask, nothing to look up."""
    model = model.to(setting.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    called = torch.compile(model) if setting.compile else model
    generator = torch.Generator().manual_seed(1)
    batches = []
    for _ in range(BATCHES):
        ids = torch.randint(1000, setting.shape.vocab_size, (setting.rows, setting.length), generator=generator)
        masked = torch.rand(ids.shape, generator=generator) < MASKED
        labels = ids.masked_fill(~masked, -100)
        positions = masked.flatten().nonzero().squeeze(1)
        batches.append([each.to(setting.device) for each in (ids, labels, positions, ids.flatten()[positions])])
    done = 0

    def run(steps: int) -> int:
        nonlocal done
        for number in range(done, done + steps):
            ids, labels, positions, asked = batches[number % BATCHES]
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(setting.device.type, torch.bfloat16):
                loss = called(ids, positions, asked) if is_plain else called(input_ids=ids, labels=labels).loss
            loss.backward()
            if not is_plain:
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        done += steps
        return steps * setting.tokens

    # The plain loop has no windows: what it does beyond them is not work that was needed.
    return Runner(run, operations_a_token(setting.shape, [setting.length]))


def table(setting: Setting, corpus: Corpus, options: argparse.Namespace) -> None:
    makers: dict[str, Callable[[], Runner]] = {
        "ours, step": lambda: our_step(setting, corpus),
        "transformers": lambda: peer_step(setting, transformers_model(setting), is_plain=False),
        "plain": lambda: peer_step(setting, gpu_plain.Plain(setting.shape), is_plain=True),
    }
    runners = {name: make() for name, make in makers.items()}
    rates: dict[str, list[float]] = {name: [] for name in runners}
    for number in range(options.rounds + 1):
        for name, runner in runners.items():
            started = time.perf_counter()
            tokens = runner.run(options.steps)
            synchronize(setting.device)
            if number:  # the first warms up and compiles
                rates[name].append(tokens / (time.perf_counter() - started))
    costs = {name: runner.operations for name, runner in runners.items()}
    middle = {name: statistics.median(found) for name, found in rates.items()}
    if options.profile:
        profile(runners["ours, step"], setting, options.profile)
    del runners
    middle["ours, loop"] = pretraining_ours.loop_rate(
        corpus, setting.shape, setting.rows, setting.length, options.steps, options.rounds, options.loader_workers
    )
    costs["ours, loop"] = costs["ours, step"]
    peak = peak_flops(setting.device, "bf16") if setting.device.type == "cuda" else None
    for name in ("ours, step", "ours, loop", "transformers", "plain"):
        mfu = f"MFU {middle[name] * costs[name] / peak:4.0%}" if peak else "MFU unknown: no peak for this device"
        line = f"{setting.family:<11} {setting.length:>5} {name:<13} {middle[name]:11,.0f} tokens/s  {mfu}"
        line += f"  {costs[name] / 1e6:,.0f} M operations a token"
        if name.startswith("ours"):
            line += f"  {middle[name] / middle['transformers']:.2f} x transformers (goal MFU {GOAL:.0%} for BERT-base)"
        print(line, flush=True)


def profile(runner: Runner, setting: Setting, file: Path) -> None:
    """Kernels of three steps by time, and every call that makes the host wait for the GPU, appended to `file`."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if setting.device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as found:
        runner.run(3)
        synchronize(setting.device)
    averages = found.key_averages()
    key = "self_cuda_time_total" if setting.device.type == "cuda" else "self_cpu_time_total"
    waits = [
        each for each in averages if each.key in ("cudaStreamSynchronize", "aten::_local_scalar_dense", "aten::item")
    ]
    with file.open("a") as out:
        out.write(f"\n{setting.family}, rows of {setting.length}\n{averages.table(sort_by=key, row_limit=25)}\n")
        out.writelines(f"waits: {each.key} {each.count} times in 3 steps\n" for each in waits)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=("bert", "modernbert"), default=("bert", "modernbert"))
    parser.add_argument("--lengths", type=int, nargs="+", default=[128, 512, 2048])
    parser.add_argument("--tokens", type=int, default=65_536, help="in a step")
    parser.add_argument("--steps", type=int, default=20, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loader-workers", type=int, default=4)
    parser.add_argument("--compile", action="store_true", help="torch.compile on every side")
    parser.add_argument("--profile", type=Path, help="append what the profiler saw of our step to this file")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--corpus", default="prose")
    parser.add_argument("--folder", type=Path, help="of the tokenized corpora; default: bench in the home folder")
    options = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if options.tiny:
        options.lengths, options.tokens, options.steps, options.rounds = [128], 256, 1, 1
    elif device.type == "cpu":
        sys.exit("no GPU here; --tiny runs the code on a CPU")
    corpus = prepare(options.corpus, options.folder)
    print(f"{torch.__version__}, {torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'}", flush=True)
    for family, shape in shapes(options.tiny, max(options.lengths)).items():
        if family in options.families:
            for length in options.lengths:
                setting = Setting(family, shape, length, max(1, options.tokens // length), device, options.compile)
                table(setting, corpus, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
