// How pages for people look, of whatever process: one sheet within the page, light and dark as the reader's system is, a table on a
// wide screen and a list of cards on a narrow one.

export const style = `
:root{color-scheme:light dark;--paper:light-dark(#fff,#14181d);--ink:light-dark(#1b2026,#e4e8ec);--line:light-dark(#e2e6eb,#2a313a);--dim:light-dark(#5c6672,#98a3b0);--soft:light-dark(#f4f6f8,#1b2027);--link:light-dark(#1759b8,#7db3ff);--bad:light-dark(#b42318,#ff8a7a);--odd:light-dark(#8a5100,#f0b354);--good:light-dark(#1a7f46,#63d297)}
*{box-sizing:border-box}
body{font:14px/1.45 system-ui,sans-serif;margin:0 auto;max-width:1500px;padding:1.1rem 1.4rem 3rem;background:var(--paper);color:var(--ink)}
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
header{display:flex;flex-wrap:wrap;gap:.1rem 1.2rem;align-items:baseline;margin-bottom:1rem}
h1{font-size:1.35rem;margin:0}h2{font-size:1.05rem;margin:.5rem 0}header p{margin:0;color:var(--dim)}header b{color:var(--ink);font-weight:600}
header .links{margin-left:auto;display:flex;gap:1rem}header .labels{flex-basis:100%}
form{display:flex;flex-wrap:wrap;gap:.5rem .9rem;align-items:center;margin-bottom:.8rem}
nav{display:flex;flex-wrap:wrap;gap:.3rem}
nav a{padding:.2rem .65rem;border:1px solid var(--line);border-radius:1rem;color:inherit}
nav a:hover{background:var(--soft);text-decoration:none}nav a[aria-current]{border-color:currentColor;background:var(--soft);font-weight:600}
nav b{font-variant-numeric:tabular-nums}.reasons{order:1;flex-basis:100%}.reasons a{border-radius:.35rem;font-size:.93em;color:var(--bad)}
.find{display:flex;gap:.4rem;margin-left:auto}
input,select,button{font:inherit;padding:.25rem .55rem;border:1px solid var(--line);border-radius:.35rem;background:var(--paper);color:inherit;min-width:0}
input[type=search]{width:17rem}select{max-width:13rem}.layout{white-space:nowrap}button{background:var(--soft);cursor:pointer}
:focus-visible{outline:2px solid var(--link);outline-offset:1px}
table{width:100%;border-collapse:collapse}
th{text-align:left;font-weight:600;border-bottom:2px solid var(--line);white-space:nowrap}th,th a{color:var(--dim)}th[aria-sort] a{color:var(--ink)}th[aria-sort] a::after{content:" ↓"}
td,th{padding:.4rem .7rem .4rem 0;vertical-align:top}td:last-child,th:last-child{padding-right:0}tr+tr td{border-top:1px solid var(--line)}td{overflow-wrap:anywhere}
tbody tr:hover{background:var(--soft)}
small{display:block;font-size:.92em;color:var(--dim)}small b,.labels b{font-weight:500;color:var(--ink)}
.target{width:36%}.state{width:34%}.state i{font-style:normal;font-weight:600}.state i::before{content:"";display:inline-block;width:.6em;height:.6em;border-radius:50%;background:currentColor;margin-right:.5em}
.error{color:inherit}
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.id,code{font:12.5px/1.5 ui-monospace,monospace}code span{color:var(--dim)}code b{font-weight:500;color:var(--ink)}
.bad,.failing i,nav .failing b,.unassigned i,nav .unassigned b{color:var(--bad)}.missed i,nav .missed b,.partial i,nav .partial b,.silent i,nav .silent b{color:var(--odd)}.up i,nav .up b{color:var(--good)}.waiting i{color:var(--dim)}
nav .zero b{color:var(--dim)}header b.bad{color:var(--bad)}
s{display:block;height:3px;border-radius:2px;background:var(--line);margin-top:.25rem;min-width:4.5rem;overflow:hidden}u{display:block;height:100%;background:var(--good)}s.slow u{background:var(--odd)}.failing s.slow u{background:var(--bad)}
.pager{display:flex;gap:1.2rem;justify-content:center;margin:1.2rem 0;color:var(--dim);font-variant-numeric:tabular-nums}.pager span{opacity:.5}
.note{margin:0 0 .8rem;flex-basis:100%}
.owner,.slot{white-space:nowrap}
.secondaries{width:auto;min-width:min(100%,52rem);margin-bottom:1.4rem}.secondaries td,.secondaries th{padding:.25rem 1.4rem .25rem 0}.secondaries .state,.secondaries .target{width:auto}.load{min-width:13rem;font-variant-numeric:tabular-nums}.load s{margin-bottom:.2rem}
.none{padding:2.5rem 0;text-align:center;color:var(--dim)}
details{margin-bottom:1rem}summary{cursor:pointer;color:var(--link)}ul{margin:.3rem 0;padding-left:1.2rem}
.series td:first-child{width:48%}.series td:last-child{color:var(--dim)}
@media(max-width:760px){body{padding:.8rem .9rem 2rem}header .links{margin-left:0;flex-basis:100%}
.find{margin:0;flex-basis:100%;width:100%;flex-wrap:wrap}input[type=search]{flex:1 1 9rem;width:0}select{flex:0 1 8rem}
thead{display:none}table,tbody{display:block}
tr{display:grid;grid-template-columns:auto auto 1fr auto;gap:.15rem 1rem;padding:.7rem 0;border-top:1px solid var(--line)}tr+tr td{border:0}td,td.target,td.state{padding:0;width:auto}
td.target,td.state{grid-column:1/-1}.n{text-align:left}.n small{display:inline;margin-left:.35em}td.layout{grid-column:1/-1}td.layout a::before{content:"layout ";color:var(--dim);font:13px system-ui,sans-serif}td.layout small{display:inline;margin-left:.8em}.when small{display:block;margin:0}s{margin-top:.1rem}
.samples::after{content:" samples";color:var(--dim)}.samples small::before{content:"("}.samples small::after{content:")"}
td.samples,td.took,td.when,td.layout{font-size:.93em}tr.waiting td.samples,tr.waiting td.took,tr.failing td.samples,tr.missed td.samples,tr.missed td.took{display:none}
td.owner::before{content:"scraped by ";color:var(--dim)}td.owner small{display:inline;margin-left:.6em}td.slot{grid-column:1/-1}td.slot small{display:inline;margin-right:.8em}td.owner{grid-column:1/-1;width:auto;white-space:normal}tr.unassigned td.took,tr.unassigned td.samples,tr.silent td.took,tr.silent td.samples{display:none}
table.secondaries{min-width:0;width:100%}.secondaries tr{display:flex;flex-wrap:wrap;padding:.5rem 0}.secondaries td,.secondaries td.state{padding:0}.secondaries td.load{flex-basis:100%}.secondaries td.fail::before{content:"failing ";color:var(--dim)}.secondaries td.to::before{content:"to ";color:var(--dim)}
table.series tr{grid-template-columns:auto auto 1fr}.series td:first-child,.series td:last-child{grid-column:1/-1;width:auto}}
`;
