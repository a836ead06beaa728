"""Ten thousand pages, cut, mixed, spliced and mis-declared: none may crash or hang, and each is accounted for."""

from __future__ import annotations

import time
from collections import Counter
from random import Random

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tasks.config.extract import ExtractConfig, RecordSelector
from tasks.text.extraction import Extracted, Refused, extract

INPUTS = 10_000
CAP_S = 5.0
"""Far over what pages of a few kB take (3 ms), far under a hang, and not upset by a busy machine."""
REASONS = {"page too large", "page too deep", "empty page", "no main text", "no records", "extraction over its time"}
PROSE = "A sentence that tells at some length, with commas and a full stop, what the thing is about. "
PAGES = (
    f"""<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Foxes | Field</title>
<meta property="article:published_time" content="2024-05-17"><style>p {{}}</style></head><body class="nav">
<nav role="navigation"><ul><li><a href="/">Home</a><li><a href="/b">More</a></ul></nav><main id="content"><h1>Foxes
<a class="headerlink" href="#f">¶</a></h1><p>{PROSE}<br>{PROSE}</p><!-- note --><h2>Ways</h2><ul><li>{PROSE}<li>red
</ul><table><tr><th>Kind<th>cm<tr><td><p>red<td>80</table><pre>a  b
c</pre><p hidden>no</p><div style="display: none">no</div></main><aside class="related">{PROSE}</aside>
<footer>Copyright &copy; 2024</footer><script>if (a < b) {{ "</p>" }}</script></body></html>""",
    f"""<?xml version="1.0" encoding="iso-8859-1"?><!DOCTYPE html [<!ENTITY x "yy"><!ENTITY z "&x;&x;">]>
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="fr"><body><div class="post-content"><h2>L'été &z;</h2>
<p>Où est l'été, et où sont les garçons du café? {PROSE}</p><dl><dt>un</dt><dd>deux</dd></dl></div></body></html>""",
    """<html><body><div class='sidebar'><p>这个酒店的服务非常好，下次还会来。房间很大，早餐也不错。</p>
<p>とても良い映画でした。</p><p>Это очень хороший фильм, который стоит посмотреть.</p></div><frameset><svg><p>x</svg>
<math><mi>y</math></html>""",
)
_PIECES = """
<p> </p> <div> </div> <table> <tr> <td> </table> <script> </script> <style> <!-- --> <![CDATA[ ]]> <a\thref=x> </a> <h1>
</h1> <li> <br> <pre> </pre> <noscript> <template> <iframe> <svg> <frameset> <body> </body> </html> <head> <x-y>
<p\thidden> <nav> </nav> <main> <article> <form> <select> <option> <textarea> <title> <base> <meta\tcharset=utf-16>
<p\tclass="main &amp &#0; &#xD800; &#x110000; &nbsp; &lt < <> </> <? <! " ' = / 狐 é
"""
PIECES = [piece.replace("\\t", " ") for piece in _PIECES.split()]
PIECES += ["\x00", "\x1a", "\ufeff", "\ud800", "\u2028", "\u202e", "\U0010ffff", "\x85", "\xa0", "\r"]
_CHARSETS = "utf-8 latin-1 cp1252 utf-16 utf-16-le utf-32 cp1251 gb18030 shift_jis euc-jp iso2022_jp utf-7 koi8-r cp037"
CHARSETS = _CHARSETS.split()
DECLARED = [*CHARSETS, "", "zlib", "punycode", "x-user-defined", "\x00", "utf-8; utf-16", "é"]
TYPES = ["text/html", "text/html", "application/xhtml+xml", "text/plain", "TEXT/HTML"]
CONFIGS = (
    ExtractConfig(engine="fast"),
    ExtractConfig(engine="fast", keep_tables=False, dates="none", max_depth=10, max_page_bytes=2_000),
    ExtractConfig(engine="fast", page_text=False, records=(RecordSelector(kind="item", item="li, td", text=""),)),
    ExtractConfig(engine="fast", records=(RecordSelector(kind="p", item="p", text="", label="a"),), max_depth=2_000),
)


def broken(random: Random) -> bytes:
    """A real page after a few changes, in some encoding, and a few changes to its bytes."""
    text = random.choice(PAGES)
    for _ in range(random.randint(0, 6)):
        at, to = sorted((random.randint(0, len(text)), random.randint(0, len(text))))
        text = random.choice(CHANGES)(random, text, at, to)
    errors = random.choice(["replace", "ignore", "xmlcharrefreplace"])
    charset = random.choice(CHARSETS) if random.random() < 0.3 else "utf-8"  # guessing one takes three times the rest
    body = text.encode("utf-8", "replace").decode().encode(charset, errors)
    for _ in range(random.randint(0, 2)):
        at = random.randint(0, len(body))
        body = body[:at] + random.randbytes(random.randint(0, 12)) + body[at + random.randint(0, 3) :]
    return body[: random.randint(0, len(body))] if random.random() < 0.15 else body


def repeated_piece(random: Random, text: str, at: int, to: int) -> str:
    return text[:at] + random.choice(PIECES) * random.choice([1, 1, 1, 40, 400]) + text[at:]


def cut_out(random: Random, text: str, at: int, to: int) -> str:
    return text[:at] + text[to:]


def doubled(random: Random, text: str, at: int, to: int) -> str:
    return text[:at] + text[at : at + 300] * random.randint(2, 9) + text[at:]


def garbled(random: Random, text: str, at: int, to: int) -> str:
    return text[:at] + "".join(chr(random.randrange(0x3000)) for _ in range(20)) + text[at:]


def spliced(random: Random, text: str, at: int, to: int) -> str:
    return text[:at] + random.choice(PAGES)[at:to] + text[at:]


CHANGES = (repeated_piece, cut_out, doubled, garbled, spliced)


def check(body: bytes, content_type: str | None, config: ExtractConfig) -> str:
    """Extract, and judge the result; returns "kept" or the reason."""
    started = time.monotonic()
    found = extract(
        body, content_type=content_type, url="http://localhost/2024/01/02/x", config=config, want_lines=True
    )
    assert time.monotonic() - started < CAP_S
    if isinstance(found, Refused):
        assert found.reason in REASONS or found.reason.startswith("content type ")
        return found.reason
    assert isinstance(found, Extracted)
    lines = found.text.split("\n") if found.text else []
    assert lines or found.records
    assert len(lines) == len(found.levels)
    assert all(0 <= level <= 6 for level in found.levels)
    assert all(line and line == " ".join(line.split()) for line in lines)
    assert "\x00" not in found.text
    found.text.encode()  # no lone surrogates
    return "kept"


def test_extraction_of_ten_thousand_broken_pages() -> None:
    seen: Counter[str] = Counter()

    @settings(
        max_examples=INPUTS,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**64 - 1))  # a seed: drawing each choice by hypothesis takes ten times the extraction's time
    def one(seed: int) -> None:
        random = Random(seed)
        media, charset = random.choice(TYPES), random.choice(DECLARED)
        seen["seen"] += 1
        seen[check(broken(random), f"{media}; charset={charset}" if charset else media, random.choice(CONFIGS))] += 1

    one()
    assert seen["seen"] >= INPUTS
    assert seen["seen"] == sum(count for reason, count in seen.items() if reason != "seen")
    assert seen["kept"] > INPUTS / 4  # the pages are not so broken that nothing is tested
    assert {"page too large", "page too deep", "no main text"} <= set(seen)
