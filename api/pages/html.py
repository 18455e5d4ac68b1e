"""Shared parts of the HTML pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

# Swagger UI sets style attributes; nothing here runs a script that did not come from this server.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'"
)
ASSET_HEADERS: Mapping[str, str] = {"cache-control": "public, max-age=3600"}


def page(title: str, body: str, styles: Sequence[str] = ()) -> str:
    """A whole HTML document around `body`, which is HTML already."""
    links = "".join(f'<link rel="stylesheet" href="{href}">' for href in (*styles, "/schema/assets/pages.css"))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
{links}
</head>
<body>{body}</body>
</html>
"""
