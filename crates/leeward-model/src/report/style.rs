//! The page's style: system fonts, light and dark, screen and paper. No asset is loaded from anywhere.

/// The style sheet. Meaning is never carried by colour alone: every verdict is also a sign and a word.
pub(super) const STYLE: &str = r#"
:root{color-scheme:light dark;--bg:#f7f8fa;--card:#fff;--ink:#16202b;--dim:#5a6775;--line:#d9dfe6;--ok:#137a48;--ok-bg:#e3f5eb;--bad:#b4232a;--bad-bg:#fce8e8;--skip:#7a6420;--skip-bg:#f7f0da;--part:#41597a;--s0:#2468b4;--s1:#a3620a;--s2:#6f4bb0;--s3:#0d7c80}
@media (prefers-color-scheme:dark){:root{--bg:#0f141a;--card:#171e26;--ink:#e6ebf0;--dim:#98a6b5;--line:#2c3742;--ok:#4cc98b;--ok-bg:#12301f;--bad:#ff7b7b;--bad-bg:#3a1719;--skip:#dcc06a;--skip-bg:#322a10;--part:#8ba6cb;--s0:#6cabf2;--s1:#e8a54a;--s2:#b497f0;--s3:#52c6ca}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
main{max-width:68rem;margin:0 auto;padding:2rem 1.25rem 4rem}
header{border-left:.5rem solid var(--tone);background:var(--tone-bg);border-radius:.5rem;padding:1.5rem 1.75rem;margin-bottom:2.5rem}
header.passed{--tone:var(--ok);--tone-bg:var(--ok-bg)}header.failed{--tone:var(--bad);--tone-bg:var(--bad-bg)}header.skipped{--tone:var(--skip);--tone-bg:var(--skip-bg)}
.eyebrow{margin:0;color:var(--dim);font-size:.9rem}
h1{margin:.1rem 0 .75rem;font-size:1.35rem;font-weight:600}
.verdict{margin:0;font-size:2.1rem;line-height:1.2;font-weight:700;color:var(--tone)}
.sentence{margin:.25rem 0 1.25rem}
dl{display:flex;flex-wrap:wrap;gap:.75rem 2.5rem;margin:0}
dl>div{min-width:7rem}dt{color:var(--dim);font-size:.85rem}dd{margin:0;font-size:1.35rem;font-weight:600;font-variant-numeric:tabular-nums}
h2{font-size:1.2rem;margin:2.5rem 0 .25rem}
section>p{margin:.1rem 0 .75rem;color:var(--dim);max-width:46rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:.5rem;overflow-x:auto}
table{width:100%;border-collapse:collapse;font-size:.95rem}
th,td{padding:.55rem .8rem;text-align:left;vertical-align:top;border-top:1px solid var(--line);unicode-bidi:isolate}
thead th{border-top:0;color:var(--dim);font-weight:500;font-size:.85rem;white-space:nowrap}
tbody th{font-weight:600}
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
code,pre,.mono{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.86em}
code{overflow-wrap:anywhere}td>code{display:inline-block;min-width:9rem}
pre{margin:.35rem 0 0;white-space:pre-wrap;overflow-wrap:anywhere;color:var(--dim)}
.mark{white-space:nowrap;font-weight:600}
.passed>.mark,.mark.passed{color:var(--ok)}.failed>.mark,.mark.failed{color:var(--bad)}.skipped>.mark,.mark.skipped{color:var(--skip)}
tr.failed{background:var(--bad-bg)}
.claim{min-width:9rem;overflow-wrap:anywhere}
header ul{margin:-.5rem 0 1.25rem;padding-left:1.2rem;font-weight:600}
.kind{color:var(--dim);font-size:.85rem;white-space:nowrap}
tr.outage .kind,tr.fault .kind{color:var(--bad);font-weight:600}tr.part td{font-weight:600}
.site{font-weight:600}.c0{color:var(--s0)}.c1{color:var(--s1)}.c2{color:var(--s2)}.c3{color:var(--s3)}
.empty{padding:.8rem;color:var(--dim);margin:0}
footer{margin-top:3rem;color:var(--dim);font-size:.85rem}
svg{display:block;width:100%;min-width:44rem;height:auto;font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
svg text{fill:var(--ink)}svg .dim{fill:var(--dim)}svg .grid{stroke:var(--line)}svg .lane{fill:var(--ink);opacity:.035}
svg .part{fill:var(--part)}svg .up{fill:var(--ok);opacity:.8}svg .down{fill:var(--bad)}svg .band{fill:var(--bad);opacity:.1}
svg text.down{font-weight:600}svg .cut{fill:var(--bad);opacity:.3}svg .f0{fill:var(--s0)}svg .f1{fill:var(--s1)}svg .f2{fill:var(--s2)}svg .f3{fill:var(--s3)}svg .none{fill:var(--dim)}
@page{margin:14mm}
@media print{:root{color-scheme:light;--bg:#fff;--card:#fff;--ink:#000;--dim:#444;--line:#bbb;--ok:#0b5c34;--ok-bg:#eef8f2;--bad:#99141b;--bad-bg:#fdeeee;--skip:#665313;--skip-bg:#faf6e6;--part:#41597a;--s0:#2468b4;--s1:#a3620a;--s2:#6f4bb0;--s3:#0d7c80}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}body{font-size:10pt}main{max-width:none;padding:0}table{font-size:8.5pt}th,td{padding:.3rem .45rem}thead th{white-space:normal;font-size:8pt}td>code{display:inline;min-width:0}tr,svg,header,dl>div{break-inside:avoid}h2,section>p{break-after:avoid}.card{overflow:visible}svg{min-width:0}}
"#;
