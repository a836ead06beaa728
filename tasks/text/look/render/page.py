"""The whole page: one file, nothing loaded from elsewhere, no script."""

from __future__ import annotations

from tasks.text.look.model import CorpusLook
from tasks.text.look.render import contents, evidence, flow, overview
from tasks.text.look.render.markup import Markup, element, join
from tasks.text.look.render.style import STYLE

# Should markup of a corpus ever get through, a browser still runs and loads nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
CONTENTS = (
    ("waterfall", "Waterfall"),
    ("stages", "Stages"),
    ("dropped", "Dropped"),
    ("kept", "Kept"),
    ("lengths", "Lengths"),
    ("languages", "Languages"),
    ("hosts", "Origins"),
    ("duplicates", "Duplicates"),
    ("leaks", "Leaks"),
    ("vocabulary", "Vocabulary"),
    ("edits", "Taken out"),
    ("lineage", "Lineage"),
)


def page(look: CorpusLook, title: str) -> str:
    """The report as one HTML document, to be written as UTF-8. The same look gives the same bytes.

    Args:
        title: for example the recipe's name.
    """
    sections = {
        "waterfall": flow.waterfall(look),
        "stages": flow.stages(look),
        "dropped": flow.dropped(look),
        "kept": contents.kept(look),
        "lengths": contents.lengths(look),
        "languages": contents.language(look),
        "hosts": contents.origins(look),
        "duplicates": evidence.duplicates(look),
        "leaks": evidence.leaks(look),
        "vocabulary": evidence.vocabulary(look),
        "edits": evidence.edits(look),
        "lineage": evidence.lineage(look),
    }
    body = element(
        "main",
        overview.head(look, title),
        overview.verdict(look),
        _navigation([name for name, section in sections.items() if section]),
        *sections.values(),
        element("footer", "BERT Foundry. Texts are quoted from the corpus as they are; addresses are not links."),
    )
    whole = element("html", _head(title), element("body", body), attributes={"lang": "en"})
    return f"<!DOCTYPE html>\n{whole}\n"


def _head(title: str) -> Markup:
    return element(
        "head",
        element("meta", attributes={"charset": "utf-8"}),
        element("meta", attributes={"http-equiv": "Content-Security-Policy", "content": POLICY}),
        element("meta", attributes={"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", attributes={"name": "referrer", "content": "no-referrer"}),
        element("title", f"{title} · corpus report"),
        element("style", Markup(STYLE)),
    )


def _navigation(names: list[str]) -> Markup:
    links = [element("a", title, attributes={"href": f"#{name}"}) for name, title in CONTENTS if name in names]
    return element("nav", join(*links))
