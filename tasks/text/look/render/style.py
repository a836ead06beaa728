"""How the page looks: one column that fits 400 pixels and 1,400, light and dark, on screen and on paper."""

STYLE = """
:root{color-scheme:light dark;--page:#fbfaf7;--card:#fff;--ink:#1d2329;--soft:#5b6570;--line:#e4e1da;--faint:#f1efe9;
--blue:#2d6596;--pale:#b9cfe2;--amber:#a8540c;--sand:#ecd3b4;--green:#2c7650}
@media (prefers-color-scheme:dark){:root{--page:#14171b;--card:#1a1e23;--ink:#e3e6e9;--soft:#9ba5b0;--line:#2c333a;
--faint:#20252b;--blue:#6fa7d8;--pale:#365470;--amber:#e5a05a;--sand:#5d4326;--green:#6cbd92}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Noto Sans","DejaVu Sans",sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
main{max-width:1120px;margin:0 auto;padding:40px 24px 80px}
h1{font-size:30px;line-height:1.2;margin:2px 0 4px;font-weight:650;letter-spacing:-.01em}
h2{font-size:20px;margin:56px 0 4px;padding-top:20px;border-top:1px solid var(--line);font-weight:650}
h3{font-size:15px;margin:28px 0 6px;font-weight:650}
p{margin:6px 0}
.eyebrow,th,.figures dt{color:var(--soft);font-size:12px;font-weight:500;letter-spacing:.02em}
.note{color:var(--soft);font-size:13px;max-width:78ch}
nav{font-size:13px;margin:20px 0 0;color:var(--soft)}
nav a{margin-right:14px;white-space:nowrap}
a{color:var(--blue);text-decoration:none}
a:hover{text-decoration:underline}
code,.url{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:1px;margin:26px 0 30px;
background:var(--line);border:1px solid var(--line);border-radius:8px;overflow:hidden}
.figures div{background:var(--card);padding:12px 16px 13px}
.figures dd{margin:0;font-size:22px;line-height:1.3;font-weight:600;letter-spacing:-.01em}
.figures dd small{display:block;font-size:12px;font-weight:400;color:var(--soft);letter-spacing:0}
.verdict{font-size:17px;font-weight:600;margin:0 0 10px}
.checks{list-style:none;margin:0;padding:0;display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));
column-gap:36px}
.checks>li{display:grid;grid-template-columns:24px 1fr;padding:9px 0 10px;border-top:1px solid var(--line)}
.mark{font-weight:700;line-height:1.45}
.pass .mark{color:var(--green)}.attention .mark,.attention strong{color:var(--amber)}.checks strong a{color:inherit}
.unknown .mark{color:var(--soft)}
.checks strong{font-weight:600;margin-right:8px}
.checks .rule{display:block;color:var(--soft);font-size:12px}
.checks ul{margin:3px 0 0;padding-left:18px;font-size:13px}
table{border-collapse:collapse;width:100%;font-size:14px}
th{text-align:left;vertical-align:bottom;padding:6px 12px 6px 0;border-bottom:1px solid var(--line);white-space:nowrap}
td{padding:5px 12px 5px 0;border-bottom:1px solid var(--faint);vertical-align:top}
td:last-child,th:last-child{padding-right:0}
.n{text-align:right;white-space:nowrap}
.scroll{overflow-x:auto;margin:8px 0}
.scroll td:first-child{min-width:120px}.scroll code{display:block;min-width:100px}
.ranking td:first-child{width:22%}
.ranking td:nth-child(2){min-width:70px;width:34%;vertical-align:middle}
td.line,th.line{width:48%;min-width:90px;vertical-align:middle}
svg{display:block;width:100%}
.bar{height:9px;fill:var(--blue)}
.bar.drop{fill:var(--amber)}
.bar.edit{fill:var(--soft)}
.bar.second{height:4px;margin-top:2px;opacity:.55}
.bars{background:var(--faint)}
.total td{font-weight:600;border-bottom-color:var(--line)}
.drop td:first-child,.edit td:first-child,.repeat td:first-child{padding-left:18px;color:var(--soft)}
figure{margin:14px 0 0}
.plot{height:200px;border-bottom:1px solid var(--soft)}
.plot.low{height:110px}
.plot .first,.key.first{fill:var(--blue);background:var(--blue)}
.plot .second,.key.second{fill:var(--pale);background:var(--pale)}
.plot .hover{fill:transparent}
.plot g:hover .hover{fill:var(--faint)}
.key{display:inline-block;width:10px;height:10px;border-radius:2px;margin:0 6px 0 12px}
.key:first-child{margin-left:0}
.axis{position:relative;height:22px;font-size:12px;color:var(--soft)}
.tick{position:absolute;top:3px;transform:translateX(-50%);white-space:nowrap}
.tick:first-child{transform:none}
.small{max-width:560px}
details{border-bottom:1px solid var(--faint)}
details.plain{border:0}
summary{cursor:pointer;padding:6px 0;display:grid;
grid-template-columns:14px minmax(150px,1.2fr) minmax(80px,1.6fr) 90px 66px;gap:12px;
align-items:center;font-size:14px;list-style:none}
summary::-webkit-details-marker{display:none}
summary::before{content:"›";color:var(--soft);transition:transform .1s}
details[open]>summary::before{transform:rotate(90deg)}
details.plain>summary{display:block;color:var(--blue);font-size:13px}
details.plain>summary::before{display:inline-block;margin-right:8px}
.samples{columns:430px;column-gap:14px;padding:6px 0 4px}
.sample{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:11px 14px;
break-inside:avoid;margin:0 0 14px}
.sample .url{color:var(--soft);display:block}
.sample .about{color:var(--soft);font-size:12.5px}
.sample h4{margin:2px 0 0;font-size:14px;font-weight:600}
.sample pre{margin:7px 0 0;white-space:pre-wrap;font:inherit;font-size:14px;max-height:15em;overflow:auto}
.members{margin:0;padding:0 0 12px 26px;list-style:none;font-size:13px}
.members li{display:grid;grid-template-columns:130px 52px 1fr;gap:12px}
pre.config{white-space:pre-wrap;font:12px/1.5 ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace;
background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 14px;overflow:auto}
footer{margin-top:60px;color:var(--soft);font-size:12px}
@media (max-width:640px){main{padding:24px 16px 60px}h1{font-size:25px}
.figures{grid-template-columns:1fr 1fr}.figures div:last-child:nth-child(odd){grid-column:1/-1}
summary{grid-template-columns:14px 1fr 74px 56px}summary .bars{display:none}
.steps thead,.steps td.line{display:none}.steps tr{display:grid;grid-template-columns:1fr 78px 74px;column-gap:10px;
border-bottom:1px solid var(--faint)}
.steps td{border:0;padding:3px 0}.steps td.line{display:block;grid-column:1/-1;grid-row:2;width:auto;padding:0 0 7px}
.steps td.share{display:none}
.ranking th:nth-child(2),.ranking td:nth-child(2){display:none}
.members li{grid-template-columns:1fr 52px}.members .url{grid-column:1/-1}}
@media print{body{background:#fff;font-size:11px}main{max-width:none;padding:0}nav{display:none}
.sample,.checks>li,figure,tr{break-inside:avoid}h2,h3{break-after:avoid}.sample pre{max-height:none;overflow:visible}
details::details-content{content-visibility:visible;block-size:auto}}
"""
