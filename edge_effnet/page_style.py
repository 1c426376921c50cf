"""The style sheet of report pages: light and dark, from a phone to a desk."""

STYLE = """
:root { --page: #f6f7f9; --card: #fff; --ink: #1b2230; --muted: #667085; --grid: #e3e7ee; --main: #2563c9; --other: #d97706; --bad: #d12f3f; }
@media (prefers-color-scheme: dark) {
  :root { --page: #11151c; --card: #1a202b; --ink: #e8ecf3; --muted: #98a3b5; --grid: #2d3645; --main: #6ea3ff; --other: #f5b04c; --bad: #ff6f7d; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: clamp(1.7rem, 5vw, 2.4rem); line-height: 1.15; margin: 0 0 .4rem; letter-spacing: -.02em; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 3rem 0 .25rem; letter-spacing: -.01em; }
p { max-width: 72ch; margin: 0 0 1rem; color: var(--muted); }
.remark { color: var(--ink); border-left: 3px solid var(--other); padding-left: .75rem; }
small { color: var(--muted); font-size: .8rem; line-height: 1.35; display: block; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr)); gap: 1rem; margin-top: 1.5rem; }
.tile, .card { background: var(--card); border: 1px solid var(--grid); border-radius: 12px; padding: 1rem; }
.tile b { display: block; font-size: 2rem; line-height: 1.2; font-weight: 650; letter-spacing: -.02em; font-variant-numeric: tabular-nums; }
.tile span { display: block; font-weight: 550; margin-bottom: .2rem; }
figure { margin: 0; min-width: 0; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); gap: 1rem; align-items: start; }
.beside { display: grid; grid-template-columns: minmax(0, 24rem) minmax(0, 1fr); gap: 1rem; align-items: start; }
.card figcaption { margin-bottom: .5rem; overflow-wrap: anywhere; }
.photos { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1rem; }
.photos figure { background: var(--card); border: 1px solid var(--grid); border-radius: 12px; overflow: hidden; }
.photos img { display: block; width: 100%; height: auto; aspect-ratio: 1; }
.photos figcaption { display: grid; grid-template-columns: 1fr auto; padding: .55rem .75rem .65rem; font-size: .8rem; }
.photos figcaption > b { grid-column: 1 / -1; overflow-wrap: anywhere; font-size: .95rem; line-height: 1.25; margin-bottom: .35rem; }
.photos figcaption > span { min-width: 0; color: var(--muted); overflow-wrap: anywhere; }
.photos i { font-style: normal; font-variant-numeric: tabular-nums; }
.photos small { grid-column: 1 / -1; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; margin-top: .2rem; }
.photos .changed { border-color: var(--bad); }
.photos .changed small { color: var(--bad); }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-family: inherit; }
.scroll { overflow-x: auto; }
.wide svg { min-width: 860px; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 550; color: var(--muted); }
th, td { padding: .28rem .6rem .28rem 0; border-bottom: 1px solid var(--grid); }
.all th, .all td { white-space: nowrap; }
summary { cursor: pointer; font-size: 1.1rem; font-weight: 600; margin: 2rem 0 1rem; }
@media (max-width: 760px) {
  main { padding: 1.25rem .8rem 3rem; }
  .beside { grid-template-columns: minmax(0, 1fr); }
  .photos { grid-template-columns: 1fr 1fr; }
}
"""
