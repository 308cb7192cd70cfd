// The style of the page: the browser's own fonts, in its light or dark scheme.

export const STYLE: string = `
:root { color-scheme: light dark; --ink: #1d2330; --dim: #5d6779; --page: #f4f5f8; --card: #fff;
  --line: #e1e5ec; --red: #bf2238; --mark: #ffe6e8; --code: #fafbfd; --rule: #fff5d9;
  --rule-line: #e9c46a; --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, monospace; }
@media (prefers-color-scheme: dark) { :root { --ink: #e5e8ef; --dim: #97a1b4; --page: #13161c;
  --card: #1b1f27; --line: #2d333f; --red: #ff7d88; --mark: #4b2129; --code: #161a21;
  --rule: #332c18; --rule-line: #8a6d1f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem 1rem 3rem; background: var(--page);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
.request { margin: 0 0 1rem; font: .95rem/1.6 var(--mono); overflow-wrap: anywhere; }
.request b { margin-right: .4rem; padding: .15rem .5rem; border-radius: .35rem;
  background: var(--red); color: var(--card); }
section, table { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
section { padding: 1rem 1.25rem 1.25rem; border-top: 3px solid var(--red); }
.relation { margin: 1rem 1.25rem .5rem; color: var(--dim); }
.relation::before { content: "↳ "; }
.part { border-top: 1px solid var(--line); }
.part:target { border-top: 3px solid var(--red); }
.relation b, .chain b { margin-left: .3rem; padding: .05rem .45rem; border-radius: .35rem;
  background: var(--mark); color: var(--red); font-size: .85em; font-weight: 600; }
.chain { margin: -.4rem 0 1rem; padding: 0; list-style: none; color: var(--dim); }
.chain li { margin: 0; font: inherit; }
.chain li::before { content: "↳ "; }
a { color: inherit; text-decoration-color: var(--dim); text-underline-offset: .2em; }
a:hover { color: var(--red); }
h1, h2 { margin: 0 0 1rem; line-height: 1.35; font-size: 1.4rem; font-weight: 600;
  overflow-wrap: anywhere; white-space: pre-wrap; max-height: 20rem; overflow-y: auto; }
h2 { font-size: 1.1rem; }
body > h2 { margin: 2.25rem 0 .6rem; }
.name { display: block; color: var(--red); font: 600 .75em/1.8 var(--mono); }
.folder, footer, th, summary, td i { color: var(--dim); }
.rule { margin: 0 0 1rem; padding: .6rem .9rem; background: var(--rule);
  border-left: 3px solid var(--rule-line); border-radius: .4rem; }
.rule p { margin: 0; overflow-wrap: anywhere; }
.rule b { margin-right: .4rem; font-family: var(--mono); }
.rule p:first-child, .rule-text { font-size: .85rem; }
.rule-text { color: var(--dim); }
.frame summary, li { margin: 0 0 .35rem; font: .85rem/1.5 var(--mono); overflow-wrap: anywhere; }
pre { margin: 0; padding: .5rem 0; overflow-x: auto; background: var(--code); tab-size: 2;
  border: 1px solid var(--line); border-radius: .4rem; font: .85rem/1.6 var(--mono); }
pre span, pre mark { display: inline-block; min-width: 100%; padding-right: 1rem; color: inherit;
  border-left: 3px solid transparent; }
pre mark { background: var(--mark); border-left-color: var(--red); font-weight: 600; }
pre .column { color: var(--red); font-weight: 700; line-height: 1; }
pre i { display: inline-block; width: 3.2rem; padding-right: 1rem; text-align: right;
  color: var(--dim); font-style: normal; font-weight: 400; user-select: none; }
details { margin-top: 1rem; font-size: .9rem; }
summary { cursor: pointer; }
ul { margin: .5rem 0 0; padding-left: 1.25rem; }
table { width: 100%; border-spacing: 0; font: .85rem/1.5 var(--mono); }
th, td { padding: .35rem .9rem; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
tr + tr > * { border-top: 1px solid var(--line); }
th { width: 18.5rem; font-weight: 500; }
.server table { margin-top: .6rem; }
section table { margin: 0 0 1rem; }
.text pre { margin-top: .6rem; padding: .75rem; white-space: pre-wrap; overflow-wrap: anywhere;
  user-select: all; }
footer { margin-top: 2rem; font-size: .85rem; }
code { font-family: var(--mono); }
@media (max-width: 40rem) {
  body { padding: 1rem .6rem 2rem; }
  section { padding: .8rem .8rem 1rem; }
  h1 { font-size: 1.2rem; }
  pre, .frame summary, li { font-size: .78rem; }
  pre i { width: 2.6rem; padding-right: .7rem; }
  th, td { display: block; width: auto; padding: .3rem .8rem; }
  th { padding-bottom: 0; }
  tr > td, tr + tr > td { border-top: 0; padding-top: 0; }
}
`;
