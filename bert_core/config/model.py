"""One space of model shapes: every family is a point in it, and a recipe may move any coordinate."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from bert_core.config.base import Config

Family = Literal["bert", "roberta", "albert", "distilbert", "gpt2", "modernbert", "xlnet"]
Size = Literal["tiny", "mini", "small", "medium", "base", "large"]

# What a family's paper or release fixes, apart from size. Absent keys keep the defaults of ModelConfig: BERT's.
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {},
    # Liu et al., 2019, arXiv:1907.11692. fairseq numbers positions from pad_token_id + 1 on (`position_offset`).
    "roberta": {
        "vocab_size": 50265,
        "pad_token_id": 1,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "pooler": False,
    },
    # Lan et al., 2020, arXiv:1909.11942, version 2 of the release: no dropout.
    "albert": {
        "vocab_size": 30000,
        "embedding_size": 128,
        "share_layers": True,
        "activation": "gelu_tanh",
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
    },
    # Sanh et al., 2019, arXiv:1910.01108: BERT without token types and pooler.
    "distilbert": {"type_vocab_size": 0, "pooler": False},
    # Radford et al., 2019.
    "gpt2": {
        "vocab_size": 50257,
        "max_positions": 1024,
        "type_vocab_size": 0,
        "norm_first": True,
        "embedding_norm": False,
        "activation": "gelu_tanh",
        "causal": True,
        "layer_norm_eps": 1e-5,
        "pooler": False,
    },
    # Warner et al., 2024, arXiv:2412.13663, table 4: three local layers' windows of 128 for one global layer.
    "modernbert": {
        "vocab_size": 50368,
        "max_positions": 8192,
        "type_vocab_size": 0,
        "positions": "rope",
        "norm_first": True,
        "activation": "geglu",
        "bias": False,
        "local_window": 128,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "layer_norm_eps": 1e-5,
        "pooler": False,
    },
    # Yang et al., 2019, arXiv:1906.08237; runs transformers' own model (`bert_core.xlnet`).
    "xlnet": {"vocab_size": 32000, "type_vocab_size": 2, "pad_token_id": 5, "positions": "relative", "pooler": False},
}

# Layers, width, heads and inner width. tiny to medium: Turc et al., 2019, arXiv:1908.08962; base and large: BERT's.
SIZES: dict[str, dict[str, int]] = {
    "tiny": {"num_layers": 2, "hidden_size": 128, "num_heads": 2, "intermediate_size": 512},
    "mini": {"num_layers": 4, "hidden_size": 256, "num_heads": 4, "intermediate_size": 1024},
    "small": {"num_layers": 4, "hidden_size": 512, "num_heads": 8, "intermediate_size": 2048},
    "medium": {"num_layers": 8, "hidden_size": 512, "num_heads": 8, "intermediate_size": 2048},
    "base": {"num_layers": 12, "hidden_size": 768, "num_heads": 12, "intermediate_size": 3072},
    "large": {"num_layers": 24, "hidden_size": 1024, "num_heads": 16, "intermediate_size": 4096},
}

# Where a family's release differs from the table above.
FAMILY_SIZES: dict[tuple[str, str], dict[str, int]] = {
    ("distilbert", "base"): {"num_layers": 6},
    # A GeGLU of width I has three matrices of width I: two thirds of the usual width cost the same.
    ("modernbert", "tiny"): {"intermediate_size": 336},
    ("modernbert", "mini"): {"intermediate_size": 672},
    ("modernbert", "small"): {"intermediate_size": 1344},
    ("modernbert", "medium"): {"intermediate_size": 1344},
    ("modernbert", "base"): {"num_layers": 22, "intermediate_size": 1152},
    ("modernbert", "large"): {"num_layers": 28, "intermediate_size": 2624},
}


class ModelConfig(Config):
    """Shape of a transformer encoder or decoder.

    A recipe names a `family` and perhaps a `size`, which fill in what it leaves out:
    `model = { family = "modernbert", size = "tiny" }`. Without them the defaults are a BERT of 6 × 384.
    """

    family: Family = Field("bert", description="whose names and files an exported folder has")
    vocab_size: int = Field(30522, ge=8)
    hidden_size: int = Field(384, ge=8)
    num_layers: int = Field(6, ge=1)
    num_heads: int = Field(12, ge=1)
    intermediate_size: int = Field(1536, ge=8)
    max_positions: int = Field(512, ge=8, description="longest document that the model reads, in tokens")
    type_vocab_size: int = Field(2, ge=0, description="token types; 0: none are added")
    embedding_size: int | None = Field(None, ge=8, description="width of the embeddings; None: hidden_size")
    share_layers: bool = Field(False, description="all layers are one layer, applied num_layers times")
    norm_first: bool = Field(False, description="normalise what a sub-layer reads, rather than the sum it is added to")
    embedding_norm: bool = Field(True, description="normalise the embeddings")
    positions: Literal["learned", "rope", "relative"] = Field("learned", description="relative: XLNet's only")
    position_offset: int = Field(0, ge=0, description="row of the position table that the first token uses")
    rope_theta: float = Field(160_000.0, gt=1, description="base of the rotations in layers that see everything")
    local_rope_theta: float = Field(10_000.0, gt=1, description="and in layers with a window")
    activation: Literal["gelu", "gelu_tanh", "geglu"] = "gelu"
    bias: bool = Field(True, description="linear layers and norms of the blocks have biases")
    causal: bool = Field(False, description="a token sees only those before it")
    local_window: int | None = Field(
        None, ge=2, description="tokens that a local layer sees, half of them on each side; None: no local layers"
    )
    global_every: int = Field(3, ge=1, description="with local_window, layers 0, n, 2n, … see the whole document")
    pooler: bool = Field(True, description="a dense layer and tanh over the first token, as BERT has")
    hidden_dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.1, ge=0, lt=1)
    layer_norm_eps: float = Field(1e-12, gt=0)
    initializer_range: float = Field(0.02, gt=0)
    pad_token_id: int = Field(0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _of_family_and_size(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = dict(data)
        family, size = given.get("family", "bert"), given.pop("size", None)
        if size is not None and size not in SIZES:
            raise ValueError(f"size {size!r}: legal: {', '.join(SIZES)}")
        if family not in get_args(Family):
            return given  # pydantic names the legal ones
        of_size = {**SIZES[size], **FAMILY_SIZES.get((family, size), {})} if size else {}
        whole = {**FAMILIES[family], **of_size, **given}
        if family == "roberta":
            whole.setdefault("position_offset", whole["pad_token_id"] + 1)
        return whole

    @model_validator(mode="after")
    def _fits_together(self) -> ModelConfig:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"hidden_size {self.hidden_size} must be a multiple of num_heads {self.num_heads}")
        if self.positions == "rope" and self.head_size % 2:
            raise ValueError(f"rotary positions need an even head size, not {self.head_size}")
        if (self.positions == "relative") != (self.family == "xlnet"):
            raise ValueError(f"positions {self.positions!r} with family {self.family!r}: relative ones are XLNet's")
        return self

    def for_tokenizer(self, *, vocab_size: int, pad_token_id: int) -> ModelConfig:
        """This shape with what a tokenizer decides, and what follows from it."""
        offset = pad_token_id + 1 if self.family == "roberta" else self.position_offset
        update = {"vocab_size": vocab_size, "pad_token_id": pad_token_id, "position_offset": offset}
        return self.model_copy(update=update)

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_heads

    def window(self, layer: int) -> int | None:
        """Tokens that layer `layer` sees, half of them on each side; None where it sees the whole document."""
        return None if layer % self.global_every == 0 else self.local_window
