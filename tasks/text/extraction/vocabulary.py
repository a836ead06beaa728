"""What elements, roles and class names say about the part of the page that they hold."""

from __future__ import annotations

import re
from functools import lru_cache

# What a browser does not show as text, or shows as a control.
_SILENT_NAMES = """
    head script style noscript template svg math iframe object embed applet canvas audio video map
    button select textarea input option datalist progress meter dialog
"""
SILENT = tuple(_SILENT_NAMES.split())

# Elements that never start a line and say nothing about their text: taken out of the tree before it is walked, which
# is done in C; a page of documentation has three times as many of them as of all others.
_INLINE_NAMES = """
    span b i em strong code font small big sup sub tt kbd var samp abbr acronym u s strike del ins mark cite q bdi bdo
    dfn label time data wbr ruby rb nobr blink picture source track img output
"""
INLINE = tuple(_INLINE_NAMES.split())

# Elements that start a new line when a browser lays a page out (HTML Standard, section 15.3, display: block and kin).
PARAGRAPH, HEADING, ITEM, CELL, ROW, TABLE, PRE, GROUP, BREAK = range(1, 10)
_KINDS = {
    PARAGRAPH: "p dt figcaption caption legend summary address",
    HEADING: "h1 h2 h3 h4 h5 h6",
    ITEM: "li dd",
    CELL: "td th",
    ROW: "tr",
    TABLE: "table",
    PRE: "pre listing xmp plaintext",
    BREAK: "br hr",
    GROUP: """
        body div article section main aside nav header footer blockquote ul ol dl menu dir figure fieldset form center
        details hgroup search tbody thead tfoot frameset noframes html
    """,
}
BLOCKS = {name: kind for kind, names in _KINDS.items() for name in names.split()}

# How a part of a page is judged.
NEUTRAL, MAIN, ASIDE, UNLIKELY, OUTSIDE = range(5)
"""MAIN: named as the content. ASIDE: is kept only where it reads like prose. UNLIKELY, OUTSIDE: is not the content, but
for names that are wrong: a part with a fifth, or half, of the page's prose is."""

_TAGS = {"main": MAIN, "nav": OUTSIDE, "aside": ASIDE, "footer": OUTSIDE, "menu": OUTSIDE, "article": MAIN}
_OUTSIDE_ROLES = """
    navigation banner contentinfo search menu menubar toolbar tablist dialog alertdialog alert tooltip
"""
_ROLES = dict.fromkeys(_OUTSIDE_ROLES.split(), OUTSIDE) | {"main": MAIN, "article": MAIN, "complementary": ASIDE}
_WORD = r"(?:^|[\s_-])(?:{})(?:$|[\s_-])"
_MAIN_NAMES = re.compile(
    r"article[_-]*(?:body|content|text|main)|articlebody|(?:post|entry|story|blog|news|page)[_-]*(?:body|content|text)"
    r"|main[_-]?content|content[_-]?(?:main|body)|body[_-]?content|mw-content-text|mw-parser-output|markdown-body"
    r"|rst-content|theme-doc-markdown"
    r"|^(?:content|main|article|hentry|h-entry|prose|story|entry|body|document|wikitext)$"
)
_OUTSIDE_NAMES = re.compile(
    _WORD.format(
        r"nav|navbar|navigation|nav(?:menu|links|header|footer)|menu|menus|menubar|breadcrumbs?|crumbs?|toc|toctree"
        r"|footer|foot|masthead|cookies?|consent|gdpr|pagination|pager|paginate"
        r"|comments?|commentlist|disqus|respond|replies|skip(?:links?)?|outbrain|taboola|print-?only|screen-reader-text|sr-only|visually-?hidden|noprint|catlinks"
        r"|site-?(?:header|footer|nav)|page-?(?:footer|links|nav)|global-?(?:header|nav|footer)"
        r"|docnav|book-navigation|mw-jump-link|printfooter|navbox|metadata-footer|mw-editsection"
    )
    + r"|comments?-?(?:list|area|section|wrap|body|thread)|share-?(?:bar|buttons?|links?|tools)|social-?\w*|cookie-?\w+"
)
_UNLIKELY_NAMES = re.compile(
    _WORD.format(
        r"sharing|share(?:d|daddy)?|social|reply|subscribe|subscription|newsletter|sign-?up|login|logout|popup|modal"
        r"|overlay|advert(?:s|isement|ising)?|ads?|sponsor(?:ed|s)?|banner|promo"
    )
)
_ASIDE_NAMES = re.compile(
    _WORD.format(
        r"sidebar|side|aside|related|relatedtopics|recommend(?:ed|ations?)?|recirc(?:ulation)?|widgets?|rail|trending"
        r"|popular|more|read-?more|also|see-?also|meta|byline|authors?|author-?(?:bio|box|info)|bio|tags?|taglist"
        r"|categories|dateline|timestamp|credits?|toolbar|tools|actions|controls|header|links|linklist|teasers?"
        r"|promoted|callout|cta|infobox|reflist|references|footnotes?|hidden|hide|image-?credit"
    )
    + r"|related-?\w+|recommend\w*|widget-?\w*|sidebar-?\w*|\w+-?sidebar|most-?(?:read|popular|viewed)"
    + r"|(?:pre|next)-?post"
)


def judge(tag: str, role: str | None, names: str | None, identity: str | None) -> int:
    """What an element's own name, its role attribute, its class names and its id say of its text."""
    if role is not None and (found := _ROLES.get(role.lower())) is not None:
        return found
    found = _TAGS.get(tag, NEUTRAL)
    if found in (NEUTRAL, MAIN) and (names or identity):
        named = judge_names(names or "", identity or "")
        return named if found == NEUTRAL or named == OUTSIDE else found  # <article class="comment"> is a comment
    return found


@lru_cache(maxsize=16_384)  # a site's pages share their names
def judge_names(names: str, identity: str) -> int:
    """OUTSIDE goes before MAIN: `comment-content` is a comment."""
    words = _separated(names)
    both = f"{words} {_separated(identity)}"
    if _OUTSIDE_NAMES.search(both):
        return OUTSIDE
    if _UNLIKELY_NAMES.search(both):
        return UNLIKELY
    if any(_MAIN_NAMES.search(part) for part in both.split()):
        return MAIN
    return ASIDE if _ASIDE_NAMES.search(both) else NEUTRAL


_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def _separated(name: str) -> str:
    """Lower case, with camelCase words parted by a dash. Cut to 200 characters: some names are generated, and long."""
    return _HUMP.sub("-", name[:200]).lower()
