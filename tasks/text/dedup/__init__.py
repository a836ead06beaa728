"""Stage dedup: exact, same-address and near duplicates dropped, what is merely similar joined into clusters.

Across sources, other corpora and nights: nothing that any night's model may have read is forgotten. Texts that were
kept once and are not kept tonight stay in `gone.parquet`, and a text of tonight that is similar to one of them shares
its cluster. So the split can keep a moved or re-worded text on the side on which it was first seen.

    sketches    each part: hashes of text, address and label, 42 band keys, a signature (about 350 bytes a document)
    pairs       each group of bands: the texts that meet in a bucket and whose signatures agree often enough
    copied      each part: the texts that are in a pair
    compared    each range of pairs: their exact similarity
    decide      in one process: who stays, in the order of preference; clusters
    write       each part: documents, rejects and the audit
"""

from tasks.text.dedup.run import dedup
from tasks.text.dedup.write import GONE, GONE_SCHEMA

__all__ = ["GONE", "GONE_SCHEMA", "dedup"]
