"""Small tables of examples and answers, drawn at random, for the tests of metrics."""

import numpy as np
import pyarrow as pa

LABELS = ("rotten", "fresh", "mixed")
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG")


def names(size: int) -> list[str]:
    return [f"x{i:05}" for i in range(size)]


def class_tables(
    size: int = 300, labels: tuple[str, ...] = LABELS, wrong: float = 0.3, seed: int = 0, truth_seed: int = 0
) -> tuple[pa.Table, pa.Table]:
    """Answers that are wrong for a share of the examples, with probabilities that fit them."""
    k = len(labels)
    true = np.random.default_rng(truth_seed).integers(0, k, size)
    rng = np.random.default_rng([seed, 1])
    logits = rng.normal(0, 1, (size, k))
    aim = np.where(rng.random(size) < wrong, rng.integers(0, k, size), true)
    logits[np.arange(size), aim] += 3
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    gold = pa.table(
        {
            "id": names(size),
            "text": [f"text {i} " + "word " * (i % 17) for i in range(size)],
            "label": [labels[i] for i in true],
        }
    )
    answers = pa.table(
        {
            "id": names(size),
            "label": [labels[i] for i in probabilities.argmax(axis=1)],
            "probabilities": pa.array(probabilities.tolist(), pa.list_(pa.float32())),
        }
    )
    return gold, answers.take(pa.array(rng.permutation(size)))


def random_tags(rng: np.random.Generator, length: int) -> list[str]:
    """As a bad model writes them: entities that begin with I, and types that change within."""
    return [str(tag) for tag in rng.choice(TAGS, length, p=[0.4, *[0.1] * 6])]


def token_tables(size: int = 60, seed: int = 0, wrong: float = 0.3) -> tuple[pa.Table, pa.Table]:
    rng = np.random.default_rng(seed)
    true = [random_tags(rng, int(rng.integers(1, 20))) for _ in range(size)]
    said = [[str(rng.choice(TAGS)) if rng.random() < wrong else tag for tag in tags] for tags in true]
    tokens = [[f"w{i}" for i in range(len(tags))] for tags in true]
    gold = pa.table({"id": names(size), "tokens": tokens, "tags": true})
    confidences = [[float(rng.random()) for _ in tags] for tags in said]
    return gold, pa.table({"id": names(size), "tags": said, "confidences": confidences})


SENTENCES = [
    "The cat sat on the mat , quietly .",
    "A translation is good if it reads well.",
    'He said: "no" — and left!',
    "Press F1 to open the help page of the (current) document.",
    "yes",
    "Two words",
    "",
    "It costs 1,000.50 dollars",
]
CHINESE = [
    "按下 F1 键打开帮助页面。",
    "这部电影很好看！",
    "他说“不”，然后离开了。",
    "是",
    "价格是100元",
    "文件（当前）的帮助",
]


def text_tables(sentences: list[str], size: int = 80, seed: int = 0) -> tuple[list[str], list[str]]:
    """(outputs, targets): the one is the other with characters and words lost."""
    rng = np.random.default_rng(seed)
    targets = [sentences[int(i)] + " " + sentences[int(j)] for i, j in rng.integers(0, len(sentences), (size, 2))]
    outputs = []
    for target in targets:
        kept = [char for char in target if rng.random() > 0.1] if rng.random() < 0.5 else list(target)
        words = "".join(kept).split(" ")
        outputs.append(" ".join(word for word in words if rng.random() > 0.2))
    return outputs, targets
