"""Under which keys transformers 5.23 keeps the shape of each family, and which shapes its config.json can express."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bert_core.config import ModelConfig
from bert_core.config.model import Family
from bert_core.hf.config_keys import (
    ACTIVATIONS,
    BERT_ABSENT,
    BERT_LEGAL,
    BERT_SAME,
    ONE_OR_MORE,
    POST_NORM,
    Keys,
    activation,
    architectures,
)

BERT = Keys(
    same=BERT_SAME,
    absent=BERT_ABSENT,
    legal=BERT_LEGAL,
    shape={**POST_NORM, "pooler": (True,), "type_vocab_size": ONE_OR_MORE},
    architectures=architectures("Bert", pairs="ForPreTraining"),
    **activation("hidden_act"),
)


def _read_roberta(theirs: Mapping[str, Any]) -> dict[str, Any]:
    offset = theirs["pad_token_id"] + 1
    return {"position_offset": offset, "max_positions": theirs["max_position_embeddings"] - offset}


def _write_roberta(config: ModelConfig) -> dict[str, Any]:
    return {"max_position_embeddings": config.max_positions + config.position_offset}


def _faults_of_roberta(config: ModelConfig) -> list[str]:
    """transformers numbers positions from the padding token's id on (fairseq's make_positions)."""
    if config.position_offset == config.pad_token_id + 1:
        return []
    return [
        f"position_offset = {config.position_offset}: files of family 'roberta' can express pad_token_id + 1, "
        f"which is {config.pad_token_id + 1}"
    ]


ROBERTA = Keys(
    same=BERT_SAME,
    absent={**BERT_ABSENT, "pad_token_id": 1},
    # Its head over words is GELU whatever hidden_act says.
    legal={**BERT_LEGAL, "hidden_act": ("gelu",)},
    shape={
        **{key: legal for key, legal in POST_NORM.items() if key != "position_offset"},
        "activation": ("gelu",),
        "type_vocab_size": ONE_OR_MORE,
    },
    architectures=architectures("Roberta"),
    read=_read_roberta,
    write=_write_roberta,
    faults=_faults_of_roberta,
)


def _read_albert(theirs: Mapping[str, Any]) -> dict[str, Any]:
    groups, layers = theirs["num_hidden_groups"], theirs["num_hidden_layers"]
    if groups not in (1, layers):
        raise ValueError(f"num_hidden_groups = {groups!r}: legal here: 1, {layers} (one for each layer)")
    return {"share_layers": groups == 1, "activation": ACTIVATIONS[theirs["hidden_act"]]}


def _write_albert(config: ModelConfig) -> dict[str, Any]:
    groups = 1 if config.share_layers else config.num_layers
    return {"num_hidden_groups": groups, **activation("hidden_act")["write"](config)}


ALBERT = Keys(
    same={**BERT_SAME, "embedding_size": "embedding_size"},
    absent={
        **BERT_ABSENT,
        "embedding_size": 128,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "hidden_act": "gelu_new",
        "num_hidden_groups": 1,
    },
    legal={
        "hidden_act": ("gelu_new", "gelu", "gelu_pytorch_tanh"),
        "position_embedding_type": ("absolute",),
        "inner_group_num": (1,),
    },
    shape={
        **POST_NORM,
        "embedding_size": ONE_OR_MORE,
        "share_layers": (True, False),
        "pooler": (True,),
        "type_vocab_size": ONE_OR_MORE,
    },
    architectures=architectures("Albert", pairs="ForPreTraining"),
    classifier_dropout="classifier_dropout_prob",
    read=_read_albert,
    write=_write_albert,
)

DISTILBERT = Keys(
    same={
        "vocab_size": "vocab_size",
        "hidden_size": "dim",
        "num_layers": "n_layers",
        "num_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "max_positions": "max_position_embeddings",
        "hidden_dropout": "dropout",
        "attention_dropout": "attention_dropout",
        "initializer_range": "initializer_range",
        "pad_token_id": "pad_token_id",
    },
    absent={
        "max_position_embeddings": 512,
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "initializer_range": 0.02,
        "pad_token_id": 0,
        "activation": "gelu",
    },
    legal={"activation": tuple(ACTIVATIONS)},
    shape={**POST_NORM, "layer_norm_eps": (1e-12,)},  # a constant in their code
    architectures=architectures("DistilBert"),
    classifier_dropout="seq_classif_dropout",
    **activation("activation"),
)


def _read_gpt2(theirs: Mapping[str, Any]) -> dict[str, Any]:
    if theirs["embd_pdrop"] != theirs["resid_pdrop"]:
        raise ValueError(f"embd_pdrop = {theirs['embd_pdrop']!r}: legal here: resid_pdrop, {theirs['resid_pdrop']!r}")
    end = theirs.get("eos_token_id")  # what is usually padded with where no token is for padding
    return {
        "intermediate_size": theirs.get("n_inner", 4 * theirs["n_embd"]),
        "pad_token_id": theirs.get("pad_token_id", end if isinstance(end, int) else 0),
        "activation": ACTIVATIONS[theirs["activation_function"]],
    }


def _write_gpt2(config: ModelConfig) -> dict[str, Any]:
    return {
        "n_inner": config.intermediate_size,
        "pad_token_id": config.pad_token_id,
        "embd_pdrop": config.hidden_dropout,
        "summary_first_dropout": config.hidden_dropout,
        **activation("activation_function")["write"](config),
    }


GPT2 = Keys(
    same={
        "vocab_size": "vocab_size",
        "hidden_size": "n_embd",
        "num_layers": "n_layer",
        "num_heads": "n_head",
        "max_positions": "n_positions",
        "hidden_dropout": "resid_pdrop",
        "attention_dropout": "attn_pdrop",
        "layer_norm_eps": "layer_norm_epsilon",
        "initializer_range": "initializer_range",
    },
    absent={
        "n_positions": 1024,
        "resid_pdrop": 0.1,
        "embd_pdrop": 0.1,
        "attn_pdrop": 0.1,
        "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.02,
        "activation_function": "gelu_new",
    },
    legal={
        "activation_function": ("gelu_new", "gelu", "gelu_pytorch_tanh"),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
    },
    shape={**POST_NORM, "norm_first": (True,), "embedding_norm": (False,), "causal": (True,)},
    architectures=architectures("GPT2", words="LMHeadModel"),
    classifier_dropout=None,
    read=_read_gpt2,
    write=_write_gpt2,
)

_GLOBAL, _LOCAL = "full_attention", "sliding_attention"
_BIASES = ("attention_bias", "mlp_bias", "norm_bias", "classifier_bias")


def _read_modernbert(theirs: Mapping[str, Any]) -> dict[str, Any]:
    for key, like in (*((key, _BIASES[0]) for key in _BIASES), ("embedding_dropout", "mlp_dropout")):
        if theirs[key] != theirs[like]:
            raise ValueError(f"{key} = {theirs[key]!r}: legal here: {like}, {theirs[like]!r}")
    every = _global_every(theirs)
    rope, old = theirs.get("rope_parameters", {}), {_GLOBAL: "global_rope_theta", _LOCAL: "local_rope_theta"}
    thetas = {}
    for kind in (_GLOBAL, _LOCAL):
        stated = rope.get(kind) or {}
        if stated.get("rope_type", "default") != "default":
            raise ValueError(f"rope_parameters: rope_type = {stated['rope_type']!r}: legal here: 'default'")
        thetas[kind] = stated.get("rope_theta", theirs[old[kind]])
    return {
        "bias": theirs["attention_bias"],
        "rope_theta": thetas[_GLOBAL],
        "local_rope_theta": thetas[_LOCAL],
        "local_window": theirs["local_attention"] if every > 1 else None,
        **({"global_every": every} if every > 1 else {}),
    }


def _global_every(theirs: Mapping[str, Any]) -> int:
    """Of how many layers one sees everything; 1 where all do."""
    layers, stated = theirs["num_hidden_layers"], theirs.get("global_attn_every_n_layers", 3)
    types = theirs.get("layer_types") or _layer_types(layers, stated)
    for every in (stated, *range(1, layers + 1)):
        if types == _layer_types(layers, every):
            return int(every)
    raise ValueError(f"layer_types = {types!r}: legal here: every n-th of {layers}, from the first, is {_GLOBAL!r}")


def _layer_types(layers: int, every: int) -> list[str]:
    return [_LOCAL if i % every else _GLOBAL for i in range(layers)]


def _write_modernbert(config: ModelConfig) -> dict[str, Any]:
    every = config.global_every if config.local_window else 1
    return {
        **dict.fromkeys(_BIASES, config.bias),
        "embedding_dropout": config.hidden_dropout,
        "local_attention": config.local_window or 128,
        "global_attn_every_n_layers": every,
        "layer_types": _layer_types(config.num_layers, every),
        "rope_parameters": {
            _GLOBAL: {"rope_type": "default", "rope_theta": config.rope_theta},
            _LOCAL: {"rope_type": "default", "rope_theta": config.local_rope_theta},
        },
    }


MODERNBERT = Keys(
    same={
        **{ours: key for ours, key in BERT_SAME.items() if ours != "type_vocab_size"},
        "hidden_dropout": "mlp_dropout",
        "attention_dropout": "attention_dropout",
        "layer_norm_eps": "norm_eps",
    },
    absent={
        "max_position_embeddings": 8192,
        "mlp_dropout": 0.0,
        "embedding_dropout": 0.0,
        "attention_dropout": 0.0,
        "norm_eps": 1e-5,
        "initializer_range": 0.02,
        "pad_token_id": 50283,
        "local_attention": 128,
        "global_rope_theta": 160_000.0,
        "local_rope_theta": 10_000.0,
        **dict.fromkeys(_BIASES, False),
    },
    legal={"hidden_activation": ("gelu",), "classifier_activation": ("gelu",), "decoder_bias": (True,)},
    classifier_legal={"classifier_pooling": ("cls",)},
    shape={
        **{key: legal for key, legal in POST_NORM.items() if key != "local_window"},
        "norm_first": (True,),
        "positions": ("rope",),
        "activation": ("geglu",),
        "bias": (True, False),
    },
    architectures=architectures("ModernBert"),
    read=_read_modernbert,
    write=_write_modernbert,
)


def _read_xlnet(theirs: Mapping[str, Any]) -> dict[str, Any]:
    return {"attention_dropout": theirs["dropout"], "max_positions": theirs["max_positions"]}


def _write_xlnet(config: ModelConfig) -> dict[str, Any]:
    # transformers has no key for the last, since nothing in the model is that long; it keeps what it does not know.
    return {"mem_len": None, "max_positions": config.max_positions}


def _faults_of_xlnet(config: ModelConfig) -> list[str]:
    if config.attention_dropout == config.hidden_dropout:
        return []
    return [
        f"attention_dropout = {config.attention_dropout}: files of family 'xlnet' can express hidden_dropout, "
        f"{config.hidden_dropout}"
    ]


XLNET = Keys(
    same={
        "vocab_size": "vocab_size",
        "hidden_size": "d_model",
        "num_layers": "n_layer",
        "num_heads": "n_head",
        "intermediate_size": "d_inner",
        "hidden_dropout": "dropout",
        "layer_norm_eps": "layer_norm_eps",
        "initializer_range": "initializer_range",
        "pad_token_id": "pad_token_id",
    },
    absent={
        "dropout": 0.1,
        "layer_norm_eps": 1e-12,
        "initializer_range": 0.02,
        "pad_token_id": 5,
        "max_positions": 512,
    },
    legal={
        "ff_activation": ("gelu",),
        "attn_type": ("bi",),
        "bi_data": (False,),
        "clamp_len": (-1,),
        "same_length": (False,),
    },
    shape={
        **POST_NORM,
        "positions": ("relative",),
        "activation": ("gelu",),
        "type_vocab_size": (2,),
    },
    architectures={"words": "XLNetLMHeadModel"},
    classifier_dropout=None,
    read=_read_xlnet,
    write=_write_xlnet,
    faults=_faults_of_xlnet,
)

KEYS: dict[Family, Keys] = {
    "bert": BERT,
    "roberta": ROBERTA,
    "albert": ALBERT,
    "distilbert": DISTILBERT,
    "gpt2": GPT2,
    "modernbert": MODERNBERT,
    "xlnet": XLNET,
}
CONFIG_KEYS: dict[Family, Mapping[str, str]] = {family: keys.same for family, keys in KEYS.items()}
