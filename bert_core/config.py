"""Frozen, strict schemas of a training run, and the one way in and out of them: TOML in, resolved JSON out."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class ConfigError(ValueError):
    """A recipe that cannot be run; the message names the key, the value and what is legal."""


class Config(BaseModel):
    """Base of every schema: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelConfig(Config):
    """Shape of a BERT encoder (Devlin et al., 2019, arXiv:1810.04805, section 3)."""

    vocab_size: int = Field(30522, ge=8)
    hidden_size: int = Field(384, ge=8)
    num_layers: int = Field(6, ge=1)
    num_heads: int = Field(12, ge=1)
    intermediate_size: int = Field(1536, ge=8)
    max_positions: int = Field(512, ge=8)
    type_vocab_size: int = Field(2, ge=1)
    hidden_dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.1, ge=0, lt=1)
    layer_norm_eps: float = Field(1e-12, gt=0)
    initializer_range: float = Field(0.02, gt=0)
    pad_token_id: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _heads_divide_hidden(self) -> ModelConfig:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"hidden_size {self.hidden_size} must be a multiple of num_heads {self.num_heads}")
        return self


class MlmObjective(Config):
    """Masked language modelling, with next-sentence prediction on request (BERT paper, section 3.1)."""

    type: Literal["mlm"] = "mlm"
    mask_rate: float = Field(0.15, gt=0, lt=1, description="share of tokens that are predicted")
    mask_token_share: float = Field(0.8, ge=0, le=1, description="of those, replaced by [MASK]")
    random_token_share: float = Field(0.1, ge=0, le=1, description="of those, replaced by a random token")
    nsp: bool = Field(False, description="also pair segments and predict whether B follows A")

    @model_validator(mode="after")
    def _shares_sum(self) -> MlmObjective:
        if self.mask_token_share + self.random_token_share > 1:
            raise ValueError("mask_token_share + random_token_share must be at most 1; the rest keeps its token")
        return self


class SequenceObjective(Config):
    """One label for each sequence."""

    type: Literal["sequence"] = "sequence"
    labels: tuple[str, ...] = Field(min_length=2, description="label names, in the order of their ids")


Objective = Annotated[MlmObjective | SequenceObjective, Field(discriminator="type")]


Precision = Annotated[
    Literal["fp32", "bf16", "auto"],
    Field(description="inputs of matrix products; weights and sums stay fp32. auto: bf16 where the CPU has AMX tiles"),
]


class OptimizerConfig(Config):
    """AdamW with a linear warmup and a linear or constant rest."""

    lr: float = Field(1e-4, gt=0, le=1)
    weight_decay: float = Field(0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    warmup_share: float = Field(0.1, ge=0, lt=1, description="share of all steps")
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    clip_norm: float = Field(1.0, gt=0, description="global gradient norm is clipped to this")
    layer_decay: float = Field(1.0, gt=0, le=1, description="learning rate factor per layer below the head")
    ema_decay: float | None = Field(None, gt=0, lt=1, description="keep an average of the weights and ship it")


class BatchConfig(Config):
    """How samples are put into rows, and rows or samples into a global batch.

    Exactly one of `rows` (pretraining: a fixed number of packed rows of `row_length` tokens) and `samples`
    (fine-tuning: a fixed number of labelled sequences, packed on the fly) is set.
    """

    row_length: int = Field(128, ge=8, description="tokens in a packed row")
    rows: int | None = Field(None, ge=1, description="packed rows in a global batch")
    samples: int | None = Field(None, ge=1, description="labelled sequences in a global batch")

    @model_validator(mode="after")
    def _one_unit(self) -> BatchConfig:
        if (self.rows is None) == (self.samples is None):
            raise ValueError("set exactly one of rows (pretraining) and samples (fine-tuning)")
        return self


class TrainConfig(Config):
    """Everything that decides the weights of one training run, apart from the bytes of its inputs."""

    name: str = Field(min_length=1, pattern=r"^[a-z0-9][a-z0-9-]*$")
    seed: int = Field(13, ge=0)
    model: ModelConfig | None = Field(None, description="shape of a model with random weights; None: that of `init`")
    init: str | None = Field(None, description="folder of weights to start from; None: random weights")
    objective: Objective
    optimizer: OptimizerConfig = OptimizerConfig()
    batch: BatchConfig
    steps: int | None = Field(None, ge=1, description="optimizer steps; with epochs, what ends first counts")
    epochs: float | None = Field(None, gt=0)
    train_data: str = Field(description="folder of token shards")
    eval_data: str | None = Field(None, description="folder of held-out token shards")
    tokenizer: str = Field(description="folder of the tokenizer that made the shards")
    precision: Precision = "fp32"
    eval_every: int = Field(100, ge=1, description="optimizer steps")
    checkpoint_every: int = Field(50, ge=1, description="optimizer steps")
    keep_checkpoints: int = Field(2, ge=1)
    log_every: int = Field(5, ge=1, description="optimizer steps")
    keep: Literal["last", "best"] = Field(
        "last", description="weights to ship: of the last step or lowest held-out loss"
    )

    @model_validator(mode="after")
    def _one_length(self) -> TrainConfig:
        if self.steps is None and self.epochs is None:
            raise ValueError("set steps, epochs, or both (what ends first counts)")
        if self.model is None and self.init is None:
            raise ValueError("set model (random weights), init (a folder of weights), or both")
        if self.keep == "best" and self.eval_data is None:
            raise ValueError("keep = 'best' needs eval_data")
        return self


C = TypeVar("C", bound=BaseModel)


def validate(schema: type[C], data: dict[str, Any], *, source: str = "config") -> C:
    """`data` as a `schema`.

    Raises:
        ConfigError: one line for each fault, with its dotted key, the value that was given and what is legal.
    """
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        lines = [_fault(schema, fault) for fault in error.errors()]
        raise ConfigError(f"{source}: {len(lines)} fault(s)\n" + "\n".join(lines)) from None


def load(path: str | Path, schema: type[C], overrides: Sequence[str] = ()) -> C:
    """The TOML file at `path`, with dotted `overrides` such as `pretrain.steps=10`, as a `schema`.

    Raises:
        ConfigError: the file is missing, is not TOML, or breaks the schema.
    """
    try:
        data = tomllib.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such recipe") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    for override in overrides:
        apply_override(data, override)
    return validate(schema, data, source=str(path))


def apply_override(data: dict[str, Any], override: str) -> None:
    """Set one dotted `key=value` in `data`, in place; the value is read as TOML, else as a plain string."""
    dotted, separator, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not separator or not all(keys):
        raise ConfigError(f"override {override!r}: expected key=value, for example pretrain.steps=10")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for key in keys[:-1]:
        data = data.setdefault(key, {})
        if not isinstance(data, dict):
            raise ConfigError(f"override {override!r}: {key!r} is a value, not a section")
    data[keys[-1]] = value


def dump_json(config: BaseModel) -> str:
    """The resolved config as canonical JSON: sorted keys, so that equal configs are equal bytes."""
    return json.dumps(config.model_dump(mode="json"), sort_keys=True, indent=2, ensure_ascii=False)


def config_hash(config: BaseModel) -> str:
    """sha256 of `dump_json`, in hexadecimal."""
    return hashlib.sha256(dump_json(config).encode()).hexdigest()


def differences(a: BaseModel, b: BaseModel) -> list[str]:
    """The dotted keys in which two configs differ, each as `key: a's value != b's value`."""
    left, right = _flat(a.model_dump(mode="json")), _flat(b.model_dump(mode="json"))
    missing = "(unset)"
    return [
        f"{key}: {left.get(key, missing)!r} != {right.get(key, missing)!r}"
        for key in sorted(left.keys() | right.keys())
        if left.get(key, missing) != right.get(key, missing)
    ]


def _flat(data: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(data, dict):
        return {prefix: data}
    return {
        key: value for name, child in data.items() for key, value in _flat(child, f"{prefix}.{name}".strip(".")).items()
    }


def _fault(schema: type[BaseModel], fault: Any) -> str:
    key = ".".join(str(part) for part in fault["loc"]) or "(top level)"
    if fault["type"] == "extra_forbidden":
        legal = _legal_keys(schema, fault["loc"][:-1])
        hint = f"; legal keys here: {', '.join(legal)}" if legal else ""
        return f"  {key} = {fault['input']!r}: unknown key{hint}"
    if fault["type"] == "missing":
        return f"  {key}: required, and not given"
    message = fault["msg"].removeprefix("Value error, ")
    if isinstance(fault["input"], dict):  # a rule over several keys; the message names them
        return f"  {key}: {message}"
    return f"  {key} = {fault['input']!r}: {message}"


def _legal_keys(schema: Any, location: tuple[Any, ...]) -> list[str]:
    """Field names at `location`; empty where a union makes the answer ambiguous."""
    for part in location:
        if isinstance(part, int):
            continue
        field = getattr(schema, "model_fields", {}).get(part)
        if field is None:
            return []
        schema = field.annotation
        for candidate in getattr(schema, "__args__", ()):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                schema = candidate
                break
    return sorted(getattr(schema, "model_fields", {}))
