"""The landing page at /, for installations without the console."""

from __future__ import annotations

from litestar import MediaType, get

from api.pages.html import page

BODY = """
<main class="landing">
  <h1>zMesh Edge Functions</h1>
  <p>This server runs JavaScript, TypeScript and Python functions. It is healthy if
     <a href="/health">/health</a> answers <code>ok</code>.</p>
  <dl>
    <dt>Deploy and invoke a function</dt>
    <dd><pre>zmesh functions deploy hello.js
zmesh functions invoke hello --data '{"name": "Ada"}'</pre></dd>
    <dt>Invoke one with an API key</dt>
    <dd><pre>curl -X POST "$ZMESH_URL/api/functions/hello" -H "x-api-key: $ZMESH_API_KEY" \\
     -H "Content-Type: application/json" -d '{"name": "Ada"}'</pre></dd>
    <dt>HTTP API</dt>
    <dd><a href="/schema">Reference</a> · <a href="/schema/openapi.json">OpenAPI document</a></dd>
  </dl>
</main>
"""


@get("/", media_type=MediaType.HTML, include_in_schema=False, sync_to_thread=False)
def landing() -> str:
    """Shown at the root of the server, if the console is not installed."""
    return page("zMesh Edge Functions", BODY)
