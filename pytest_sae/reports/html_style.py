"""The look of report.html, light and dark."""

from __future__ import annotations

# The colours of the SAEs follow Okabe and Ito: told apart by colour-blind readers too; yellow
# and black, which one of the two backgrounds swallows, are replaced.
STYLE = """
:root { color-scheme: light dark;
  --page: #f6f7f9; --card: #fff; --ink: #1b1f27; --soft: #667085; --rule: #dfe3ea;
  --good: #1a7f45; --bad: #c3202c; --plain: #5a6472;
  --good-tint: #e5f5ea; --bad-tint: #fdebec; --plain-tint: #eceff3;
  --doubt: #8a5a00; --doubt-tint: #fff1d6; }
.c0 { --c: #0072b2; } .c1 { --c: #dd8a00; } .c2 { --c: #009e73; } .c3 { --c: #c25f97; }
.c4 { --c: #46a5dd; } .c5 { --c: #a34a00; } .c6 { --c: #7a6bc4; } .c7 { --c: #6f7782; }
@media (prefers-color-scheme: dark) {
  :root { --page: #12151a; --card: #1a1f26; --ink: #e6e9ee; --soft: #98a2b1; --rule: #303742;
    --good: #62cc8a; --bad: #ff7d83; --plain: #a9b2bf;
    --good-tint: #16301f; --bad-tint: #3a1c20; --plain-tint: #262c35;
    --doubt: #f2c26b; --doubt-tint: #3b2d12; }
  .c0 { --c: #4fa9e6; } .c1 { --c: #f2ac3c; } .c2 { --c: #2fc79a; } .c3 { --c: #e08dbb; }
  .c4 { --c: #8fd0f7; } .c5 { --c: #d98247; } .c6 { --c: #a99cf0; } .c7 { --c: #a2abb8; } }
.d1 .line { stroke-dasharray: 7 3; } .d2 .line { stroke-dasharray: 2 3; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 14px/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 1180px; margin: 0 auto; padding: 1.5em 1.2em 4em; }
h2 { font-size: 1.15em; margin: 2.2em 0 .5em; } h3 { font-size: 1em; margin: 0 0 .4em; }
code { font: .93em ui-monospace, monospace; }
ul { list-style: none; margin: 0; padding: 0; }
.key { color: var(--soft); margin: 0 0 .8em; max-width: 60em; }
.good { --tone: var(--good); --tint: var(--good-tint); }
.bad { --tone: var(--bad); --tint: var(--bad-tint); }
.plain { --tone: var(--plain); --tint: var(--plain-tint); }

.banner { background: var(--tint); border-left: 8px solid var(--tone); border-radius: 10px;
  padding: 1.1em 1.4em; }
.banner h1 { margin: 0; font-size: 1.2em; font-weight: 500; }
.banner h1 b { display: block; font-size: 2.3em; line-height: 1.15; letter-spacing: .02em;
  text-transform: uppercase; color: var(--tone); }
.banner p { margin: .7em 0 0; color: var(--soft); }
.banner p b { display: block; color: var(--bad); }
.tallies { display: flex; flex-wrap: wrap; gap: .5em; margin-top: .6em; }
.tallies li { background: var(--card); color: var(--tone); border-radius: 99px;
  padding: .15em .8em; }

.cards, .charts { display: grid; gap: .8em;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 21em), 1fr)); }
article { background: var(--card); border: 1px solid var(--rule); border-top: 3px solid var(--bad);
  border-radius: 8px; padding: .8em 1em; min-width: 0; }
article p { margin: .5em 0; font-weight: 600; }
dl { display: grid; grid-template-columns: auto 1fr; gap: .15em .9em; margin: 0; font-size: .92em; }
dt { color: var(--soft); } dd { margin: 0; min-width: 0; }
.badge { display: inline-block; background: var(--tint); color: var(--tone); border-radius: 5px;
  padding: 0 .5em; font-size: .88em; font-weight: 600; white-space: nowrap; }

.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--rule);
  border-radius: 8px; }
.scroll table { border-collapse: separate; border-spacing: 0; width: 100%; }
.scroll th, .scroll td { text-align: left; vertical-align: top; font-weight: 400;
  padding: .4em .9em; border-bottom: 1px solid var(--rule); }
.scroll td, thead th { min-width: 15em; }
.scroll th:first-child { position: sticky; left: 0; z-index: 1; background: var(--card);
  border-right: 1px solid var(--rule); width: 24em;
  min-width: min(19em, 38vw); max-width: min(24em, 42vw); }
.scroll td:empty::before { content: "-"; color: var(--soft); }
.scroll thead th { font-weight: 600; vertical-align: bottom; }
.scroll tbody:last-child tr:last-child > * { border-bottom: 0; }
.scroll .family > *, .scroll .family > th:first-child { background: var(--plain-tint); }
.scroll .family th { font-weight: 600; }
.scroll .family td { color: var(--soft); font-size: .9em; max-width: 15em; white-space: nowrap;
  overflow: hidden; text-overflow: ellipsis; }
.tally { font-size: .88em; font-weight: 500; color: var(--soft); }
.tally span { color: var(--tone); }
.arrow { margin-left: .4em; font-weight: 700; } small { display: block; color: var(--soft); }
.setting { display: inline-block; margin-left: .4em; padding: 0 .45em; border-radius: 5px;
  background: var(--plain-tint); color: var(--soft); font-size: .86em; }
.figure { display: flex; flex-wrap: wrap; gap: .1em .6em; align-items: baseline;
  font-variant-numeric: tabular-nums; }
.number { white-space: nowrap; } .se, .rule { color: var(--soft); } .rule { font-size: .9em; }
.moved { color: var(--tone); font-size: .9em; white-space: nowrap; }
.moved.bad, .moved.good { font-weight: 600; }
.cell + .cell { margin-top: .5em; }
.cell.bad { background: var(--bad-tint); box-shadow: 0 0 0 .3em var(--bad-tint);
  border-radius: 2px; }
.cell.bad .badge { background: var(--bad); color: var(--card); }
.reason { margin: .25em 0 0; max-width: 45em; color: var(--tone);
  font-size: .9em; line-height: 1.35; }
small.why { max-width: 30em; font-size: .8em; line-height: 1.3; }
.quiet th:first-child code, .quiet .figure { color: var(--soft); } .quiet .bar { opacity: .6; }

svg { overflow: visible; } svg text { font-size: 10.5px; fill: var(--soft); }
.swatch { margin-right: .45em; vertical-align: middle; }
.bar { display: block; width: 100%; max-width: 28em; margin-top: .15em; }
.track { fill: var(--rule); } .value { fill: var(--c); opacity: .4; }
.end { stroke: var(--c); stroke-width: 2; } .interval { stroke: var(--c); stroke-width: 1.5; }
.outside { fill: var(--bad); opacity: .13; } .bound { stroke: var(--bad); stroke-width: 2; }
.control { stroke: var(--soft); stroke-width: 2; } .control.missed { stroke: var(--doubt); }
.controls { display: flex; flex-wrap: wrap; gap: 0 .9em; margin-top: .1em; color: var(--soft);
  font-size: .82em; font-variant-numeric: tabular-nums; }
.controls .missed { color: var(--doubt); font-weight: 600; }
.badge.doubt { --tone: var(--doubt); --tint: var(--doubt-tint); }
.before { stroke: var(--ink); stroke-width: 3; }
.zero { stroke: var(--soft); stroke-width: 1; } .axis { stroke: var(--rule); }

.legend { display: flex; flex-wrap: wrap; gap: .2em 1.4em; margin-bottom: .8em; }
figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 8px;
  padding: .7em .8em .3em; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { margin-bottom: .3em; }
.band { fill: var(--c); opacity: .15; } .line { fill: none; stroke: var(--c); stroke-width: 2; }
.bars rect { fill: var(--c); opacity: .75; }
.floor { fill: none; stroke: var(--c); stroke-width: 1.3; stroke-dasharray: 5 4; opacity: .8; }
.reference { fill: var(--ink); }
.mark { fill: var(--c); } .headline { stroke: var(--soft); stroke-dasharray: 3 3; }
svg text.strong { fill: var(--ink); font-weight: 700; }

.judged + .judged, .judged + details, details + .judged { margin-top: .8em; }
.judged.tall { max-height: 34em; overflow-y: auto; }
.scroll.judged td, .judged thead th { min-width: 6em; }
.scroll.judged th:first-child { width: 22em; min-width: min(15em, 38vw); }
.scroll.judged thead tr + tr th:first-child { position: static; width: auto; min-width: 6em;
  border-right: 0; }
.judged td { font-variant-numeric: tabular-nums; }
.judged small.sure { color: var(--ink); font-weight: 600; }
.latents h3 { margin: 1.1em 0 .2em; } .latents h3 small { font-weight: 400; }
.latents p { margin: .2em 0; color: var(--soft); }
.latents li { border-left: 2px solid var(--rule); padding-left: .7em; margin: .3em 0; }
mark { color: inherit; border-radius: 3px; background: #f0a00026; }
.l3, .l4, .l5 { background: #f0a0004d; } .l6, .l7, .l8 { background: #f0a00073; }
.l9, .l10 { background: #f0a00099; }
details { margin-top: 2.2em; background: var(--card); border: 1px solid var(--rule);
  border-radius: 8px; padding: .8em 1em; }
summary { font-weight: 600; cursor: pointer; }
.parts { columns: 26em 2; column-gap: 2.5em; margin-top: 1em; }
.parts section { break-inside: avoid; margin-bottom: 1.4em; }
.parts table { border-collapse: collapse; width: 100%; font-size: .92em; }
.parts th, .parts td { text-align: left; vertical-align: top; font-weight: 400; padding: .12em 0; }
.parts th { color: var(--soft); padding-right: 1em; width: 40%; }
.stages { margin-top: .4em; } .stages .number { text-align: right; white-space: nowrap;
  padding-left: .8em; width: 6em; }
.stage { display: block; width: 100%; margin-top: .3em; } .stage rect { fill: var(--plain); }
@media (max-width: 40em) {
  main { padding: .8em .7em 3em; } .scroll th, .scroll td { padding: .35em .55em; }
  .scroll td, thead th { min-width: 12em; } }
"""
