"""Under which names transformers 5.23 keeps the weights of each family: data only, read in both directions.

Keys are our modules, values theirs, `*` being the number of a block. Several of theirs are stacked, in this order, into
one of ours. Under equal module names the parameters (weight, bias) have equal names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bert_core.config.model import Family

Modules = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Names:
    prefix: str
    """What stands before the encoder's names in a model with a head; files of a bare encoder lack it."""
    bare: tuple[str, ...]
    """How the names begin in those."""
    encoder: Modules
    pretraining: Modules
    classifier: Modules
    tied: Mapping[str, str]
    """Copies, in some files, of what is stored under another name."""
    buffers: tuple[str, ...] = ()
    """What old files hold beside weights."""
    transposed: frozenset[str] = field(default_factory=frozenset)
    """Ours, whose weights theirs keep as (in, out)."""
    choice: Modules | None = None
    """Where they are not those of `classifier`."""

    def heads(self, kind: str) -> Modules:
        """Of a folder of this kind (`bert_core.hf.weights.Kind`)."""
        if kind == "pretraining":
            return self.pretraining
        if kind == "bare":
            return {name: theirs for name, theirs in self.classifier.items() if theirs[0].startswith(self.prefix)}
        if kind == "choice" and self.choice is not None:
            return self.choice
        if kind in ("token", "span") and "pooler.norm" not in self.classifier:
            return {"classifier": ("classifier" if kind == "token" else "qa_outputs",)}
        return self.classifier


def _encoder_of_bert(prefix: str) -> dict[str, tuple[str, ...]]:
    layer = f"{prefix}.encoder.layer.*"
    return {
        "encoder.embeddings.word": (f"{prefix}.embeddings.word_embeddings",),
        "encoder.embeddings.position": (f"{prefix}.embeddings.position_embeddings",),
        "encoder.embeddings.token_type": (f"{prefix}.embeddings.token_type_embeddings",),
        "encoder.embeddings.norm": (f"{prefix}.embeddings.LayerNorm",),
        "encoder.layers.*.attention.qkv": (
            f"{layer}.attention.self.query",
            f"{layer}.attention.self.key",
            f"{layer}.attention.self.value",
        ),
        "encoder.layers.*.attention_output": (f"{layer}.attention.output.dense",),
        "encoder.layers.*.attention_norm": (f"{layer}.attention.output.LayerNorm",),
        "encoder.layers.*.up": (f"{layer}.intermediate.dense",),
        "encoder.layers.*.down": (f"{layer}.output.dense",),
        "encoder.layers.*.norm": (f"{layer}.output.LayerNorm",),
    }


BERT = Names(
    prefix="bert.",
    bare=("embeddings.", "encoder.", "pooler."),
    encoder=_encoder_of_bert("bert"),
    pretraining={
        "pooler.dense": ("bert.pooler.dense",),
        "mlm_head": ("cls.predictions",),
        "mlm_head.dense": ("cls.predictions.transform.dense",),
        "mlm_head.norm": ("cls.predictions.transform.LayerNorm",),
        "pair_head": ("cls.seq_relationship",),
    },
    classifier={"pooler.dense": ("bert.pooler.dense",), "classifier": ("classifier",)},
    tied={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    buffers=("bert.embeddings.position_ids",),
)

ROBERTA = Names(
    prefix="roberta.",
    bare=("embeddings.", "encoder.", "pooler."),
    encoder=_encoder_of_bert("roberta"),
    pretraining={
        "mlm_head": ("lm_head",),
        "mlm_head.dense": ("lm_head.dense",),
        "mlm_head.norm": ("lm_head.layer_norm",),
    },
    # Its classifier has a dense layer of its own; `roberta.pooler`, which old files hold, was never trained.
    classifier={"pooler.dense": ("classifier.dense",), "classifier": ("classifier.out_proj",)},
    choice={"pooler.dense": ("roberta.pooler.dense",), "classifier": ("classifier",)},
    tied={
        "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    },
    buffers=("roberta.embeddings.position_ids",),
)

_ALBERT_LAYER = "albert.encoder.albert_layer_groups.*.albert_layers.0"
ALBERT = Names(
    prefix="albert.",
    bare=("embeddings.", "encoder.", "pooler."),
    encoder={
        "encoder.embeddings.word": ("albert.embeddings.word_embeddings",),
        "encoder.embeddings.position": ("albert.embeddings.position_embeddings",),
        "encoder.embeddings.token_type": ("albert.embeddings.token_type_embeddings",),
        "encoder.embeddings.norm": ("albert.embeddings.LayerNorm",),
        "encoder.embeddings.project": ("albert.encoder.embedding_hidden_mapping_in",),
        "encoder.layers.*.attention.qkv": (
            f"{_ALBERT_LAYER}.attention.query",
            f"{_ALBERT_LAYER}.attention.key",
            f"{_ALBERT_LAYER}.attention.value",
        ),
        "encoder.layers.*.attention_output": (f"{_ALBERT_LAYER}.attention.dense",),
        "encoder.layers.*.attention_norm": (f"{_ALBERT_LAYER}.attention.LayerNorm",),
        "encoder.layers.*.up": (f"{_ALBERT_LAYER}.ffn",),
        "encoder.layers.*.down": (f"{_ALBERT_LAYER}.ffn_output",),
        "encoder.layers.*.norm": (f"{_ALBERT_LAYER}.full_layer_layer_norm",),
    },
    pretraining={
        "pooler.dense": ("albert.pooler",),
        "mlm_head": ("predictions",),
        "mlm_head.dense": ("predictions.dense",),
        "mlm_head.norm": ("predictions.LayerNorm",),
        "pair_head": ("sop_classifier.classifier",),
    },
    classifier={"pooler.dense": ("albert.pooler",), "classifier": ("classifier",)},
    tied={
        "predictions.decoder.weight": "albert.embeddings.word_embeddings.weight",
        "predictions.decoder.bias": "predictions.bias",
    },
    buffers=("albert.embeddings.position_ids",),
)

_DISTILBERT_LAYER = "distilbert.transformer.layer.*"
DISTILBERT = Names(
    prefix="distilbert.",
    bare=("embeddings.", "transformer."),
    encoder={
        "encoder.embeddings.word": ("distilbert.embeddings.word_embeddings",),
        "encoder.embeddings.position": ("distilbert.embeddings.position_embeddings",),
        "encoder.embeddings.norm": ("distilbert.embeddings.LayerNorm",),
        "encoder.layers.*.attention.qkv": (
            f"{_DISTILBERT_LAYER}.attention.q_lin",
            f"{_DISTILBERT_LAYER}.attention.k_lin",
            f"{_DISTILBERT_LAYER}.attention.v_lin",
        ),
        "encoder.layers.*.attention_output": (f"{_DISTILBERT_LAYER}.attention.out_lin",),
        "encoder.layers.*.attention_norm": (f"{_DISTILBERT_LAYER}.sa_layer_norm",),
        "encoder.layers.*.up": (f"{_DISTILBERT_LAYER}.ffn.lin1",),
        "encoder.layers.*.down": (f"{_DISTILBERT_LAYER}.ffn.lin2",),
        "encoder.layers.*.norm": (f"{_DISTILBERT_LAYER}.output_layer_norm",),
    },
    pretraining={
        "mlm_head": ("vocab_projector",),
        "mlm_head.dense": ("vocab_transform",),
        "mlm_head.norm": ("vocab_layer_norm",),
    },
    classifier={"pooler.dense": ("pre_classifier",), "classifier": ("classifier",)},
    tied={"vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"},
    buffers=("distilbert.embeddings.position_ids",),
)

GPT2 = Names(
    prefix="transformer.",
    bare=("wte.", "wpe.", "h.", "ln_f."),
    encoder={
        "encoder.embeddings.word": ("transformer.wte",),
        "encoder.embeddings.position": ("transformer.wpe",),
        "encoder.layers.*.attention.qkv": ("transformer.h.*.attn.c_attn",),
        "encoder.layers.*.attention_output": ("transformer.h.*.attn.c_proj",),
        "encoder.layers.*.attention_norm": ("transformer.h.*.ln_1",),
        "encoder.layers.*.up": ("transformer.h.*.mlp.c_fc",),
        "encoder.layers.*.down": ("transformer.h.*.mlp.c_proj",),
        "encoder.layers.*.norm": ("transformer.h.*.ln_2",),
        "encoder.final_norm": ("transformer.ln_f",),
    },
    pretraining={},
    classifier={"classifier": ("score",)},
    tied={"lm_head.weight": "transformer.wte.weight"},
    buffers=("transformer.h.*.attn.bias", "transformer.h.*.attn.masked_bias"),
    transposed=frozenset(f"encoder.layers.*.{name}" for name in ("attention.qkv", "attention_output", "up", "down")),
)

MODERNBERT = Names(
    prefix="model.",
    bare=("embeddings.", "layers.", "final_norm."),
    encoder={
        "encoder.embeddings.word": ("model.embeddings.tok_embeddings",),
        "encoder.embeddings.norm": ("model.embeddings.norm",),
        "encoder.layers.*.attention.qkv": ("model.layers.*.attn.Wqkv",),
        "encoder.layers.*.attention_output": ("model.layers.*.attn.Wo",),
        "encoder.layers.*.attention_norm": ("model.layers.*.attn_norm",),
        "encoder.layers.*.up": ("model.layers.*.mlp.Wi",),
        "encoder.layers.*.down": ("model.layers.*.mlp.Wo",),
        "encoder.layers.*.norm": ("model.layers.*.mlp_norm",),
        "encoder.final_norm": ("model.final_norm",),
    },
    pretraining={"mlm_head": ("decoder",), "mlm_head.dense": ("head.dense",), "mlm_head.norm": ("head.norm",)},
    # The classifier's dense layer starts as the pretraining head's, as in transformers.
    classifier={"pooler.dense": ("head.dense",), "pooler.norm": ("head.norm",), "classifier": ("classifier",)},
    tied={"decoder.weight": "model.embeddings.tok_embeddings.weight"},
)

# transformers' own modules run (`bert_core.xlnet`), so that only the outermost names differ.
XLNET = Names(
    prefix="transformer.",
    bare=("word_embedding.", "layer.", "mask_emb"),
    encoder={
        "encoder": ("transformer",),
        **{
            f"encoder.{name}": (f"transformer.{name}",)
            for name in (
                "word_embedding",
                "layer.*.rel_attn",
                "layer.*.rel_attn.layer_norm",
                "layer.*.ff.layer_norm",
                "layer.*.ff.layer_1",
                "layer.*.ff.layer_2",
            )
        },
    },
    pretraining={"mlm_head": ("lm_loss",)},
    classifier={},
    tied={"lm_loss.weight": "transformer.word_embedding.weight"},
)

NAMES: dict[Family, Names] = {
    "bert": BERT,
    "roberta": ROBERTA,
    "albert": ALBERT,
    "distilbert": DISTILBERT,
    "gpt2": GPT2,
    "modernbert": MODERNBERT,
    "xlnet": XLNET,
}
