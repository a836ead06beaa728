"""What this page adds to the house's style: intervals on a line, curves, a confusion matrix."""

from tasks.text.look.render.style import STYLE as HOUSE

STYLE = (
    HOUSE
    + """
:root{--seed:#8a97a3}
@media (prefers-color-scheme:dark){:root{--seed:#74818d}}
.refused{color:var(--amber)}.promoted{color:var(--green)}
.dots{margin:14px 0 4px}
.dots .row,.dots .scale{display:grid;grid-template-columns:minmax(110px,1.15fr) minmax(0,4fr) minmax(150px,1.3fr);
column-gap:18px;align-items:center}
.dots .row{padding:5px 0;border-bottom:1px solid var(--faint);font-size:14px}
.dots .name small{color:var(--soft);font-size:12px;margin-left:6px;white-space:nowrap}
.dots .lead .name{font-weight:650}.dots .name small{font-weight:400}
.dots .value{text-align:right;white-space:nowrap;line-height:1.3}
.dots .value small{display:block;color:var(--soft);font-size:12px}
.dots .group{font-size:12px;color:var(--soft);padding:12px 0 2px;letter-spacing:.02em;
border-bottom:1px solid var(--line)}
.suspects td:not(:first-child),.metrics td,.metrics th{white-space:nowrap}
.suspects td:nth-child(even){padding-right:6px}
.track{position:relative;height:26px}
.track>*{position:absolute;display:block}
.track .grid{top:-5px;bottom:-5px;width:1px;background:var(--faint)}
.track .mark-at{top:-6px;bottom:-6px;width:0;border-left:1px dashed var(--soft)}
.track .range{top:11px;height:4px;border-radius:2px;background:var(--seed);opacity:.45}
.track .dot{top:7px;width:12px;height:12px;margin-left:-6px;border-radius:50%;background:var(--seed);
border:2px solid var(--page)}
.track .seed{top:6px;width:1.5px;height:14px;margin-left:-.75px;background:var(--seed);opacity:.9}
.ours .range,.ours .seed{background:var(--blue)}.ours .dot{background:var(--blue)}
.worse .range,.worse .dot{background:var(--amber)}.worse .flag{color:var(--amber)}
.dots .value .up{color:var(--green)}.dots .value .down{color:var(--amber)}
.dots .axis{height:20px}.dots .tick:first-child,figure .tick:first-child{transform:translateX(-50%)}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:20px 44px;align-items:start}
.square{max-width:400px;margin:14px 0 0 34px}
.frame{position:relative;border-left:1px solid var(--soft);border-bottom:1px solid var(--soft)}
.square .frame{aspect-ratio:1}
.frame svg{position:absolute;inset:0;height:100%;overflow:visible}
.frame line,.frame polyline{vector-effect:non-scaling-stroke;stroke:var(--blue);stroke-width:2;fill:none}
.frame .grid{stroke:var(--faint);stroke-width:1}
.frame .ideal{stroke:var(--soft);stroke-width:1;stroke-dasharray:4 4}
.frame .low-high{stroke-width:2;opacity:.4}
.frame .point{position:absolute;width:10px;height:10px;margin:-5px;border-radius:50%;background:var(--blue);
border:1.5px solid var(--page)}
.frame .up-tick{position:absolute;right:100%;transform:translateY(-50%);padding-right:6px;font-size:12px;
color:var(--soft);white-space:nowrap}
.frame .across{font-size:12px;color:var(--soft);position:absolute}
.curve{margin:14px 0 0 46px}.curve .frame{height:260px}
.band{fill:var(--blue);opacity:.13;stroke:none}
.frame polyline.other{stroke:var(--seed)}.frame .point.other,.key.other{background:var(--seed)}
.frame .band.other{fill:var(--seed)}
.key.ours{background:var(--blue)}
.axis-title{font-size:12px;color:var(--soft);margin:0 0 4px}
.matrix td,.matrix th{padding:0;border:1px solid var(--page);text-align:center;font-size:13px}
.matrix{width:auto;border-collapse:separate;border-spacing:0}
.matrix th{font-weight:500;padding:4px 8px;color:var(--soft);border:0;white-space:normal;max-width:110px}
.matrix th.side{text-align:right;vertical-align:middle}
.matrix td.cell{min-width:58px;height:42px;vertical-align:middle;line-height:1.15}
.matrix td.cell small{display:block;font-size:11px;opacity:.75}
.matrix td.total{padding:0 12px;color:var(--soft);text-align:right;vertical-align:middle}
.cards{columns:430px;column-gap:14px;padding:6px 0 4px}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:11px 14px;break-inside:avoid;
margin:0 0 14px;font-size:14px}
.card .about{color:var(--soft);font-size:12px;display:flex;justify-content:space-between;gap:12px}
.card .text{margin:6px 0 8px;white-space:pre-wrap;max-height:13em;overflow:auto}
.card .text .part{color:var(--soft);font-size:12px;display:block}
.card dl{margin:0;display:grid;grid-template-columns:auto 1fr;gap:1px 12px}
.card dt{color:var(--soft)}.card dd{margin:0}
.card .wrong{color:var(--amber)}
.stack{display:flex;height:22px;border-radius:5px;overflow:hidden;margin:12px 0 6px;gap:1px}
.stack span{display:block;min-width:2px}
.right-part{background:var(--green)}.boundary-part{background:var(--blue)}.type-part{background:var(--pale)}
.missed-part{background:var(--amber)}.invented-part{background:var(--sand)}
.legend-list{display:flex;flex-wrap:wrap;gap:2px 18px;font-size:13px;color:var(--soft);margin:0 0 8px;padding:0;
list-style:none}
.legend-list .key{margin-left:0}
.kept-text{white-space:pre-wrap;font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace;
background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 14px;overflow:auto}
.facts{display:flex;flex-wrap:wrap;gap:0 22px;margin:8px 0 0;font-size:13px;color:var(--soft)}
.facts b{font-weight:500;color:var(--ink)}
.given{overflow-x:auto}
@media (max-width:640px){.dots .row{grid-template-columns:1fr auto;row-gap:0}.dots .track{grid-column:1/-1;grid-row:2}
.dots .scale{grid-template-columns:1fr}.dots .scale>span:empty{display:none}.square{margin-left:38px}
.matrix td.cell{min-width:46px}.matrix th{padding:4px 5px}}
@media print{.card,.dots .row,.pair>*{break-inside:avoid}.card .text{max-height:none;overflow:visible}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
"""
)
