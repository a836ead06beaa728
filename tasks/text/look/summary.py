"""The look in a few lines of markdown, for the page of a Prefect task."""

from __future__ import annotations

from tasks.text.look.checks import checks
from tasks.text.look.model import CorpusLook
from tasks.text.look.render.overview import MARKS, tokens_about
from tasks.text.look.waterfall import steps
from tasks.text.look.wording import number, plural, share, short


def summary_markdown(look: CorpusLook) -> str:
    """The figures, the checks and the waterfall; no text of the corpus but the names in it."""
    return "\n\n".join([_figures(look), _checks(look), _waterfall(look)]).rstrip() + "\n"


def _figures(look: CorpusLook) -> str:
    parts = [plural(look.documents, "document"), f"{short(look.characters)} characters"]
    parts += [f"{short(look.tokens)} tokens"] if look.tokens is not None else []
    return f"**{', '.join(parts)}**"


def _checks(look: CorpusLook) -> str:
    rows = [f"| {MARKS[one.mark]} | {one.title} | {_cell(one.figure)} |" for one in checks(look)]
    return "\n".join(["| | check | found |", "|---|---|---|", *rows])


def _waterfall(look: CorpusLook) -> str:
    found = steps(look)
    if not found:
        return ""
    rows = [
        f"| {_cell(step.title) if step.kind != 'total' else f'**{_cell(step.title)}**'} "
        f"| { {'drop': '−', 'repeat': '+'}.get(step.kind, '') }{number(step.documents) if step.kind != 'edit' else ''} "
        f"| {share(step.documents, found[0].documents) if step.kind != 'edit' else ''} "
        f"| {tokens_about(look, step.characters)} |"
        for step in found
    ]
    return "\n".join(["| step | documents | of read | tokens |", "|---|---:|---:|---:|", *rows])


def _cell(text: str) -> str:
    """As text in a markdown table: nothing in it is markup."""
    plain = " ".join(text.split())
    return "".join(f"\\{char}" if char in "\\|`*_[]<>!#~" else char for char in plain)
