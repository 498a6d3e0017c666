"""How a report's page looks and sorts: its style sheet, its script, and the policy that keeps it self-contained.

The variables of `STYLE` are the colours of `plots.COLOURS`, once more for dark mode.
"""

__all__ = ["POLICY", "SORT", "STYLE"]

# What the browser may load for the page: nothing but what is in it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark; --page: #f5f7fa; --card: #ffffff; --ink: #1c2431; --muted: #5f6b7e; --line: #d8dee8;
  --band: #8b95a7; --first: #2563d9; --second: #d2690f; --wrong: #c9342b; --bar: rgb(37 99 217 / .18);
  --shade: rgb(28 36 49 / .28); }
@media (prefers-color-scheme: dark) { :root { --page: #10141b; --card: #181e27; --ink: #e6eaf0; --muted: #9aa5b5;
  --line: #303a48; --band: #9aa5b5; --first: #6c9bff; --second: #f0954a; --wrong: #f0736b;
  --bar: rgb(108 155 255 / .28); --shade: rgb(0 0 0 / .8); }
  svg image { filter: brightness(1.4); } }
* { box-sizing: border-box; stroke-linejoin: round; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif; }
header, main, footer { max-width: 72rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .75rem; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 0 0 .6rem; }
p { margin: .25rem 0 .75rem; }
.lead { font-size: 1.25rem; line-height: 1.4; margin: 0 0 .6rem; }
.quiet, figcaption, caption, footer { color: var(--muted); font-size: .88rem; }
footer { padding-bottom: 2.5rem; margin-top: 2rem; }
nav { display: flex; flex-wrap: wrap; gap: .5rem; margin-top: 1rem; }
nav a { color: var(--first); text-decoration: none; border: 1px solid var(--line); border-radius: 99px;
  padding: .2rem .8rem; background: var(--card); font-size: .9rem; }
nav a:hover, nav a:focus-visible { border-color: var(--first); }
.box { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.15rem;
  margin: 0 0 1rem; min-width: 0; }
.scores { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem;
  padding: 0; margin: 0 0 1rem; }
.scores li { list-style: none; margin: 0; padding: .75rem 1rem; }
.scores .name { display: block; color: var(--muted); font-size: .85rem; }
.scores .value { font-size: 1.6rem; font-weight: 650; line-height: 1.2; font-variant-numeric: tabular-nums; }
.scores .more { display: block; color: var(--muted); font-size: .78rem; }
.warning { border-left: 4px solid var(--wrong); background: var(--card); padding: .6rem .9rem; margin: 0 0 1rem;
  border-radius: 4px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem;
  align-items: start; }
.pair > * { margin: 0; }
.pair + * { margin-top: 1rem; }
.scroll { overflow: auto; max-height: 62rem; }
.scroll, figure.wide { border: 1px solid var(--line); border-radius: 6px; background:
  linear-gradient(to right, var(--card) 50%, transparent) left / 3rem 100% no-repeat local,
  linear-gradient(to left, var(--card) 50%, transparent) right / 3rem 100% no-repeat local,
  linear-gradient(to right, var(--shade), transparent) left / 1rem 100% no-repeat scroll,
  linear-gradient(to left, var(--shade), transparent) right / 1rem 100% no-repeat scroll; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .4rem .6rem; }
th, td { text-align: right; padding: .32rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child, .left { text-align: left; }
tbody th { font-weight: 500; min-width: 6rem; }
thead th { position: sticky; top: 0; background: var(--card); color: var(--muted); font-weight: 600;
  white-space: nowrap; }
table.bars th:not(:first-child) { width: 19%; }
thead button { all: unset; cursor: pointer; }
thead button:focus-visible { outline: 2px solid var(--first); outline-offset: 2px; }
thead [aria-sort=ascending] button::after { content: " ▲"; }
thead [aria-sort=descending] button::after { content: " ▼"; }
td.bar { min-width: 4.2rem; background: linear-gradient(var(--bar) 0 0) no-repeat
  left .2rem top 50% / calc(var(--share) * (100% - .4rem)) 70%; }
pre { margin: 0 0 .6rem; padding: .6rem .8rem; font-size: .86rem; }
figure { margin: 0; }
.beside { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: center; }
.beside > * { min-width: 0; max-width: 100%; }
.beside > div { flex: 1 1 15rem; }
figcaption { margin-top: .6rem; }
figure.wide { overflow-x: auto; padding: .5rem; }
figure .sheet { max-width: 100%; height: auto; display: block; }
figure svg { max-width: 100%; height: auto; display: block; margin: 0 auto; }
figure.wide svg { max-width: none; }
svg text { font-family: inherit !important; }
svg image { image-rendering: pixelated; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); gap: .9rem;
  padding: 0; margin: 0; }
.gallery li { list-style: none; font-size: .82rem; line-height: 1.35; overflow-wrap: anywhere; }
.gallery img { width: 100%; aspect-ratio: 1; object-fit: contain; background: var(--page); border-radius: 6px;
  display: block; margin-bottom: .35rem; }
.gallery .quiet { font-size: inherit; }
.gallery.drawn { grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); gap: 1.2rem; }
.gallery.drawn:has(figure:nth-child(3)) { grid-template-columns: repeat(auto-fill, minmax(min(100%, 28rem), 1fr)); }
.gallery .pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(6rem, 1fr)); gap: .35rem; }
.gallery .pictures img { margin: 0; }
.gallery figcaption { margin: 0 0 .3rem; color: var(--muted); font-size: .74rem; }
.swatch { display: inline-block; width: .9em; height: .9em; border-radius: 3px; vertical-align: -.1em; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: 0; padding: 0; list-style: none; }
.file { color: var(--muted); font-size: .74rem; line-height: 1.25; display: block; }
.gallery .small { image-rendering: pixelated; }
.said { color: var(--wrong); font-weight: 600; }
.facts th { width: 13rem; color: var(--muted); }
.facts td { text-align: left; overflow-wrap: anywhere; }
details summary { cursor: pointer; color: var(--muted); }
ul.notes, ol.notes { margin: 0; padding-left: 1.2rem; }
@media (max-width: 36rem) { header, main, footer { padding-left: .8rem; padding-right: .8rem; } .box { padding: .8rem; }
  .facts th { width: auto; } .scores { grid-template-columns: 1fr 1fr; } th, td { padding: .3rem .35rem; }
  tbody th { min-width: 3.5rem; }
  .gallery { grid-template-columns: repeat(auto-fill, minmax(6rem, 1fr)); }
  .gallery.drawn { grid-template-columns: 1fr; } }
@media print { .scroll { max-height: none; overflow: visible; } .box { break-inside: avoid; } nav { display: none; } }
"""
SORT = """
for (const button of document.querySelectorAll("thead button")) button.addEventListener("click", () => {
  const head = button.parentElement, column = [...head.parentElement.children].indexOf(head);
  const up = head.getAttribute("aria-sort") === "descending", body = head.closest("table").tBodies[0];
  const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const order = (a, b) => isNaN(a) || isNaN(b) || a === "" || b === "" ? a.localeCompare(b) : a - b;
  for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * order(key(a), key(b))));
});
"""
