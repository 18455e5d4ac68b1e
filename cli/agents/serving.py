"""The API with the tools for agents beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from api.agents import Serve


def main() -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    from api.main import main as run

    return run(_serve_agents)


def _serve_agents(key: bytes) -> Serve:
    """The first request of an agent imports what speaks its protocol: over a second, and 20 MB."""
    from cli.agents.http import serving_with

    return serving_with(key)
