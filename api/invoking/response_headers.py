"""Which headers of a function's response leave the platform, and how far its cookies reach."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Written by the server, or of one connection only.
OF_THE_CONNECTION = frozenset(
    {
        *("connection", "content-length", "date", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "server", "server-timing", "te", "trailer", "transfer-encoding", "upgrade"),
        "x-request-id",
    }
)
# Applied by a browser to everything on the host, or by a reverse proxy to its own files, routes and health checks.
BEYOND_THE_FUNCTION = frozenset(
    {
        *("accept-ch", "accept-ch-lifetime", "alt-svc", "clear-site-data", "expect-ct", "nel", "origin-agent-cluster"),
        *("idp-signin-status", "public-key-pins", "public-key-pins-report-only", "report-to", "reporting-endpoints"),
        *("sec-session-challenge", "sec-session-registration", "secure-session-challenge"),
        *("secure-session-registration", "service-worker-allowed", "set-cookie2", "set-login", "shared-storage-write"),
        *("strict-transport-security", "use-as-dictionary"),
        *("x-accel-limit-rate", "x-accel-redirect", "x-lighttpd-send-file", "x-lighttpd-send-tempfile"),
        *("x-envoy-degraded", "x-envoy-immediate-health-check-fail", "x-envoy-overloaded"),
        *(
            "x-litespeed-location",
            "x-reproxy-file",
            "x-reproxy-url",
            "x-sendfile",
            "x-sendfile-temporary",
            "x-sendfile2",
        ),
    }
)
OURS = "x-zmesh-"
# On a shared host a page of a function is an origin of its own: none of its scripts acts as who is logged in here.
SANDBOXED = (
    "sandbox allow-downloads allow-forms allow-modals allow-popups allow-popups-to-escape-sandbox allow-scripts"
    " allow-top-navigation-by-user-activation"
)
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
UNSAFE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")


@dataclass(frozen=True, slots=True)
class Site:
    """Where a response is seen: below `path`, on a host that other projects share unless it is `own`."""

    path: str
    own: bool = False


def sent_headers(given: dict[str, Any], site: Site) -> list[tuple[str, str]]:
    """The headers of a function's response that leave, by lower-case name, and the ones that confine it."""
    headers = [*_allowed(given, site)]
    return headers if site.own else [*headers, ("content-security-policy", SANDBOXED)]


def _allowed(given: dict[str, Any], site: Site) -> Iterator[tuple[str, str]]:
    for name, value in given.items():
        lower = name.lower()
        if not TOKEN.fullmatch(name) or lower in OF_THE_CONNECTION | BEYOND_THE_FUNCTION or lower.startswith(OURS):
            continue
        for one in value if isinstance(value, list) else [value]:
            text: str | None = str(one).strip()
            if lower == "set-cookie":
                text = _confined(str(one), site)
            if text is not None and not UNSAFE.search(text):
                yield lower, text


def _confined(cookie: str, site: Site) -> str | None:
    """A cookie for this host only and, where that is shared, for this function only; None where that cannot be."""
    pair, *attributes = (part.strip() for part in cookie.split(";"))
    kept, path = [], ""
    for attribute in attributes:
        name, _, value = (part.strip() for part in attribute.partition("="))
        if name.lower() == "path":
            path = value
        elif attribute and name.lower() != "domain":
            kept.append(attribute)
    if not site.own:
        if pair.lower().startswith("__host-"):
            return None  # its path is the whole host by definition
        path = path if path == site.path or path.startswith(f"{site.path}/") else site.path
    return "; ".join([pair, *kept, *([f"Path={path}"] if path else [])])
