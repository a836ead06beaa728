"""WordPiece, byte-level BPE and Unigram tokenizers: train, load, save, fingerprint, encode one text or millions.

Text is untrusted: the string "[SEP]" inside a document becomes ordinary pieces, never the special token.
"""

from bert_core.tokenizer.base import SPECIAL_TOKENS, Encoding, Tokenizer, TokenizerError
from bert_core.tokenizer.bpe import train_bpe
from bert_core.tokenizer.bulk import BulkEncoder, TokenArrays
from bert_core.tokenizer.folder import load
from bert_core.tokenizer.unigram import train_unigram
from bert_core.tokenizer.wordpiece import train_wordpiece

__all__ = [
    "SPECIAL_TOKENS",
    "BulkEncoder",
    "Encoding",
    "TokenArrays",
    "Tokenizer",
    "TokenizerError",
    "load",
    "train_bpe",
    "train_unigram",
    "train_wordpiece",
]
