"""The one page that the console has until accounts exist: what runs here and what to do next."""

import base64
import hashlib
from html import escape
from string import Template
from typing import Final

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#16211d;--soft:#5a6a63;--paper:#f6f8f6;--card:#fff;
--line:#dde5e0;--accent:#0b7a55;--code:#f0f4f1}
@media(prefers-color-scheme:dark){:root{--ink:#e8efeb;--soft:#9aaca3;--paper:#0f1513;--card:#161e1b;
--line:#26312c;--accent:#4fd1a1;--code:#101714}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:46rem;margin:0 auto;padding:clamp(1.5rem,6vw,4.5rem) 1.25rem}
header{display:flex;gap:1rem;align-items:center;margin-bottom:2.25rem}
svg{flex:none;color:var(--accent)}
h1{font-size:1.9rem;line-height:1.2;margin:0;letter-spacing:-.02em}
h2{font-size:1.05rem;margin:0 0 .5rem}
p{margin:.25rem 0 .75rem}
header p,.soft{color:var(--soft);margin:0}
section{background:var(--card);border:1px solid var(--line);border-radius:14px;
padding:1.25rem 1.4rem;margin:0 0 1rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.25rem;margin:0}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
code,pre{font:.875rem/1.7 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{background:var(--code);border:1px solid var(--line);border-radius:10px;padding:.9rem 1rem;
margin:.6rem 0 0;overflow-x:auto}
pre:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.dot{display:inline-block;width:.6rem;height:.6rem;border-radius:50%;background:var(--accent);
margin-right:.45rem}
footer{color:var(--soft);font-size:.875rem;padding:.75rem .25rem}
@media(max-width:30rem){dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}}
"""

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>Holdfast</title>
<style>$style</style>
</head>
<body>
<main>
<header>
<svg width="48" height="48" viewBox="0 0 48 48" fill="none" stroke="currentColor"
stroke-width="3.2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
<path d="M24 12v29M13 20h22M8 29c1 8 7 12 16 12s15-4 16-12"/><circle cx="24" cy="8" r="4"/></svg>
<div><h1>Holdfast</h1><p>S3-compatible object storage</p></div>
</header>
<section aria-labelledby="here">
<h2 id="here"><span class="dot" aria-hidden="true"></span>Running here</h2>
<dl>
<dt>Version</dt><dd>$version</dd>
<dt>S3 endpoint</dt><dd><code>$endpoint</code></dd>
<dt>Region</dt><dd><code>$region</code></dd>
</dl>
</section>
<section aria-labelledby="try">
<h2 id="try">Store a first object</h2>
<p>Any S3 client works. With the AWS command line, and the root credential that was shown when the
server first started:</p>
<pre tabindex="0" aria-label="Commands"><code>export AWS_ACCESS_KEY_ID=…
export AWS_SECRET_ACCESS_KEY=…
export AWS_DEFAULT_REGION=$region
export AWS_ENDPOINT_URL=$endpoint
aws s3 mb s3://first-bucket
echo hello | aws s3 cp - s3://first-bucket/hello.txt
aws s3 ls s3://first-bucket</code></pre>
</section>
<section aria-labelledby="keys">
<h2 id="keys">Give somebody a key of their own</h2>
<p>Each owner has separate buckets. Run this on the server, beside the running process:</p>
<pre tabindex="0" aria-label="Command"><code>holdfast key create --owner alice</code></pre>
</section>
<footer>This page is all that the console shows in this version: it has no sign-in and reads no
stored data. Accounts, buckets and settings are managed with the command line and the S3 API.
Health: <code>/-/healthz</code> and <code>/-/readyz</code>.</footer>
</main>
</body>
</html>
""")


def render_page(*, version: str, endpoint: str, region: str) -> bytes:
    """Return the page; it needs no script and loads nothing."""
    text = _PAGE.substitute(
        style=_STYLE, version=escape(version), endpoint=escape(endpoint), region=escape(region)
    )
    return text.encode()


def content_security_policy() -> str:
    """Return a policy that allows the page's own style, by its hash, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
