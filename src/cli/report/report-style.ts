/** The style of the report: a grid of cards that follows the width and the colour scheme of the reader. */
export const REPORT_STYLE: string = `
:root {
  color-scheme: light dark;
  --paper: #f6f5f2; --card: #ffffff; --ink: #1d1f23; --soft: #686d76; --line: #e3e1db; --accent: #1f7a6c; --track: #e6ece9;
  --shadow: 0 1px 2px rgb(20 20 20 / .05), 0 8px 24px -12px rgb(20 20 20 / .18);
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #131517; --card: #1c1f22; --ink: #eceae5; --soft: #9aa0a8; --line: #2b2f34; --accent: #58c4ae; --track: #2a3433;
    --shadow: 0 1px 2px rgb(0 0 0 / .4), 0 10px 28px -14px rgb(0 0 0 / .8);
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
header, main, .failures, footer { max-width: 1320px; margin-inline: auto; padding-inline: clamp(16px, 4vw, 40px); }
header { padding-block: clamp(28px, 6vw, 64px) 24px; }
h1 { margin: 0; font-size: clamp(28px, 4.4vw, 44px); line-height: 1.1; letter-spacing: -.025em; font-weight: 680; text-wrap: balance; }
.lead { margin: 12px 0 0; max-width: 62ch; color: var(--soft); font-size: 17px; text-wrap: pretty; }
.facts { display: flex; flex-wrap: wrap; gap: 8px; margin: 24px 0 0; }
.facts div { display: flex; gap: 8px; align-items: baseline; padding: 5px 12px; border: 1px solid var(--line); border-radius: 999px; background: var(--card); }
.facts dt { color: var(--soft); font-size: 13px; }
.facts dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; }
main { display: grid; gap: 24px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 360px), 1fr)); padding-block: 8px 48px; }
article { display: flex; flex-direction: column; background: var(--card); border: 1px solid var(--line); border-radius: 18px; overflow: hidden; box-shadow: var(--shadow); scroll-margin-top: 24px; }
article:target { outline: 3px solid var(--accent); outline-offset: 3px; }
figure { margin: 0; position: relative; }
figure img, figure .missing { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: cover; background: var(--track); }
figcaption { position: absolute; left: 12px; bottom: 12px; max-width: calc(100% - 24px); padding: 3px 11px; border-radius: 999px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  background: rgb(16 18 20 / .72); color: #fff; font-size: 13px; font-weight: 600; backdrop-filter: blur(8px); }
ol { list-style: none; display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 12px; margin: 0; padding: 14px; }
li a { display: block; color: inherit; text-decoration: none; border-radius: 10px; }
li a:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
li img, li .missing { display: block; width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 10px; background: var(--track); transition: transform .18s ease; }
li a:hover img { transform: scale(1.03); }
.missing { display: grid !important; place-items: center; color: var(--soft); font-size: 12px; }
.name { display: block; margin-top: 7px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-size: 12.5px; color: var(--soft); }
.cosine { display: flex; align-items: center; gap: 8px; font-size: 12.5px; font-weight: 640; font-variant-numeric: tabular-nums; }
.bar { flex: 1; height: 5px; border-radius: 99px; background: linear-gradient(var(--accent), var(--accent)) 0 / var(--share) 100% no-repeat, var(--track); }
.failures { padding-bottom: 32px; }
.failures h2 { font-size: 18px; margin: 0 0 8px; }
.failures ul { margin: 0; padding-left: 20px; color: var(--soft); }
code { font: 13px ui-monospace, monospace; color: var(--accent); }
footer { padding-block: 0 48px; color: var(--soft); font-size: 13px; }
@media (prefers-reduced-motion: reduce) { li img { transition: none; } }
@media print { article { break-inside: avoid; box-shadow: none; } }
`;
