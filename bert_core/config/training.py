"""Everything that decides the weights of one training run, and how it is run."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bert_core.config.base import Config
from bert_core.config.method import MethodConfig
from bert_core.config.model import ModelConfig
from bert_core.config.objective import Objective
from bert_core.config.optimizer import OptimizerConfig
from bert_core.config.task import TASK_TYPES, SequenceTask, Task

Precision = Annotated[
    Literal["fp32", "bf16", "auto"],
    Field(
        description="type of activations and of matrix products; weights, sums and the optimizer stay fp32. "
        "auto: bf16 where the GPU or CPU multiplies it faster (AMX, AVX-512 BF16)"
    ),
]


class PhaseConfig(Config):
    """A part of a run with rows of its own length, such as 128 tokens first and 512 for the last tenth."""

    row_length: int = Field(ge=8, description="tokens in a packed row")
    share: float = Field(gt=0, le=1, description="of the run's steps; the shares of all phases sum to 1")


class BatchWarmup(Config):
    """The global batch grows linearly from `start` to its full size over the first `share` of the run's steps."""

    start: int = Field(ge=1, description="rows of the first global batch")
    share: float = Field(gt=0, le=1)


class BatchConfig(Config):
    """How samples are put into rows, and rows or samples into a global batch.

    Exactly one of `rows` and `tokens` (pretraining: packed rows of `row_length` tokens) and `samples` (fine-tuning: a
    fixed number of labelled examples, packed on the fly) is set.
    """

    row_length: int = Field(128, ge=8, description="tokens in a packed row")
    rows: int | None = Field(None, ge=1, description="packed rows in a global batch")
    tokens: int | None = Field(None, ge=8, description="positions in a global batch, whatever the phase's row_length")
    samples: int | None = Field(None, ge=1, description="labelled examples in a global batch")
    phases: tuple[PhaseConfig, ...] = Field((), description="row lengths one after the other; overrides row_length")
    warmup: BatchWarmup | None = None

    @model_validator(mode="after")
    def _one_unit(self) -> BatchConfig:
        if sum(unit is not None for unit in (self.rows, self.tokens, self.samples)) != 1:
            raise ValueError("set exactly one of rows or tokens (pretraining) and samples (fine-tuning)")
        if self.samples is not None and (self.phases or self.warmup):
            raise ValueError("phases and warmup are for pretraining: set rows or tokens instead of samples")
        if self.phases and abs(sum(phase.share for phase in self.phases) - 1) > 1e-6:
            raise ValueError(f"the shares of the phases sum to {sum(p.share for p in self.phases):g}, not to 1")
        longest = max(length for length, _ in self.stretches)
        if self.tokens is not None and self.tokens < longest:
            raise ValueError(f"tokens {self.tokens}: a row alone has {longest}")
        if self.warmup and self.warmup.start > min(self.rows_of(length) for length, _ in self.stretches):
            raise ValueError(f"warmup.start {self.warmup.start} is more than the full batch")
        return self

    @property
    def stretches(self) -> tuple[tuple[int, float], ...]:
        """(row_length, share of the steps) of each phase, in order."""
        return tuple((phase.row_length, phase.share) for phase in self.phases) or ((self.row_length, 1.0),)

    def rows_of(self, row_length: int) -> int:
        """Rows in a full global batch of rows of this length."""
        return self.rows if self.rows is not None else max(1, (self.tokens or 0) // row_length)


class RuntimeConfig(Config):
    """How a run is carried out. It may change between attempts: order and global batch stay, bits may differ."""

    parallel: Literal["replicate", "ddp", "fsdp"] = Field(
        "replicate",
        description="replicate: whole gradients summed in one fixed order; ddp: torch's buckets, overlapped with the "
        "backward pass; fsdp: parameters, gradients and optimizer state split over ranks (FSDP2)",
    )
    compile: bool = Field(False, description="torch.compile of every block")
    activation_checkpointing: bool = Field(False, description="keep no activations inside blocks: compute them again")
    micro_rows: int | None = Field(
        None, ge=1, description="rows of one forward pass of one rank; a larger share is accumulated. None: all at once"
    )
    loader_workers: int = Field(0, ge=0, description="threads that prepare batches ahead; 0: in the training thread")
    hang_timeout_s: float = Field(600.0, gt=0, description="a rank without progress for this long is named, and ends")
    on_nonfinite: Literal["stop", "skip"] = Field("stop", description="skip: leave the batch out, and record it")
    max_skipped: int = Field(10, ge=1, description="skip: batches in all; one more stops the run")
    log_order: bool = Field(False, description="write every step's sample ids to order/rank-N.jsonl")


class StepsConfig(Config):
    """How long a run is, in what batches and by which rule it learns, what it measures, keeps and tells."""

    optimizer: OptimizerConfig = OptimizerConfig()
    batch: BatchConfig
    steps: int | None = Field(
        None, ge=1, description="optimizer steps; of steps, epochs, tokens what ends first counts"
    )
    epochs: float | None = Field(None, gt=0)
    tokens: int | None = Field(None, ge=1, description="positions in rows, padding (under 1%) included")
    precision: Precision = "fp32"
    runtime: RuntimeConfig = RuntimeConfig()
    eval_every: int = Field(100, ge=1, description="optimizer steps")
    eval_every_tokens: int | None = Field(None, ge=1, description="positions; instead of eval_every")
    patience: int | None = Field(
        None, ge=1, description="stop after this many evaluations without a lower held-out loss; None: never"
    )
    checkpoint_every: int = Field(50, ge=1, description="optimizer steps")
    keep_checkpoints: int = Field(2, ge=1, description="the newest to keep")
    keep_every_tokens: int | None = Field(
        None, ge=1, description="also keep, as long as the run lasts, the first checkpoint after each so many positions"
    )
    log_every: int = Field(5, ge=1, description="optimizer steps")
    keep: Literal["last", "best"] = Field(
        "last", description="weights to ship: of the last step or lowest held-out loss"
    )

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.steps is None and self.epochs is None and self.tokens is None:
            raise ValueError("set steps, epochs, tokens, or several (what ends first counts)")
        return self


HOW_IT_RUNS = frozenset({"runtime", "log_every", "checkpoint_every", "keep_checkpoints", "keep_every_tokens"})
"""Keys of a `StepsConfig` that decide no weight: they may change between two attempts of one run."""


class AuxiliaryTask(Config):
    """Another task that is learned on the same encoder."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="of its head: the folder model-<name> holds it")
    task: Task
    train_data: str = Field(description="folder of features")
    weight: float = Field(1.0, gt=0, description="its steps for each step of the run's own task")


class TrainConfig(StepsConfig):
    """Everything that decides the weights of one training run, apart from the bytes of its inputs."""

    name: str = Field(min_length=1, pattern=r"^[a-z0-9][a-z0-9-]*$")
    seed: int = Field(13, ge=0)
    model: ModelConfig | None = Field(None, description="shape of a model with random weights; None: that of `init`")
    init: str | None = Field(None, description="folder of weights to start from; None: random weights")
    objective: Objective | None = Field(None, description="of pretraining; exactly one of this and task is set")
    task: Task | None = Field(None, description="of fine-tuning")
    method: MethodConfig = Field(MethodConfig(), description="of fine-tuning: what learns, and how")
    auxiliary: tuple[AuxiliaryTask, ...] = Field((), description="of fine-tuning: tasks learned beside it")
    train_data: str = Field(description="folder of token shards; of features for a task")
    eval_data: str | None = Field(None, description="folder of held-out token shards, or features")
    tokenizer: str = Field(description="folder of the tokenizer that made the shards")

    @model_validator(mode="after")
    def _has_weights_and_what_it_measures_by(self) -> Self:
        if self.model is None and self.init is None:
            raise ValueError("set model (random weights), init (a folder of weights), or both")
        if (self.objective is None) == (self.task is None):
            raise ValueError("set exactly one of objective (pretraining) and task (fine-tuning)")
        if self.eval_data is None and (self.keep == "best" or self.patience is not None):
            raise ValueError("keep = 'best' and patience need eval_data")
        return self

    @model_validator(mode="after")
    def _method_fits(self) -> Self:
        method = self.method
        is_asked = method != MethodConfig() or bool(self.auxiliary)
        if is_asked and self.task is None:
            raise ValueError("method and auxiliary are of fine-tuning: set task instead of objective")
        if is_asked and self.task is not None and self.task.type in ("seq2seq", "causal"):
            raise ValueError(f"method and auxiliary are of an encoder with a head, not of {self.task.type}")
        names = [each.name for each in self.auxiliary]
        if len({*names}) < len(names) or {*names} & {*TASK_TYPES, "rdrop", "adversarial"}:
            raise ValueError(f"auxiliary {names}: each needs a name of its own, and not that of a loss")
        if self.auxiliary and (method.virtual_tokens or method.cloze is not None):
            raise ValueError("auxiliary tasks share an encoder as it is: leave out prompt, prefix and cloze")
        if self.runtime.parallel == "fsdp" and method.unfreeze is not None:
            raise ValueError("unfreeze: under fsdp what learns is settled at the start; take replicate or ddp instead")
        kept = [name for name in ("lora", "prompt", "prefix", "cloze") if getattr(method, name) is not None]
        if kept and self.init is None:
            raise ValueError(f"{kept[0]} builds on what the encoder knows: set init, a folder of weights")
        if self.runtime.compile and method.virtual_tokens:
            raise ValueError("prompt and prefix: blocks that are compiled do not see where they are; compile = false")
        if method.cloze is not None and (
            not isinstance(self.task, SequenceTask)
            or self.task.kind != "single"
            or {*self.task.labels} - {*method.cloze.verbalizer}
        ):
            raise ValueError(
                f"cloze answers sequence and pair of kind single; labels {list(getattr(self.task, 'labels', ()))} "
                f"each need a word, and the verbalizer has {list(method.cloze.verbalizer)}"
            )
        return self
