"""What `zmesh --help` prints. It needs neither click nor any command, which makes it the fastest answer there is."""

from __future__ import annotations

from cli.commands import SECTIONS
from cli.help_text import help_width, paragraph, section, usage, width_of

SUMMARY = "Self-hosted JavaScript, TypeScript and Python functions whose only server is PostgreSQL."
FIRST_STEPS = "Start with `zmesh dev`, then `zmesh functions list` in another terminal."
OPTIONS = [("--version", "Show the version and exit."), ("-h, --help", "Show this message and exit.")]


def overview() -> str:
    """All commands, by what people do with them."""
    room = help_width()
    names = width_of([name for places in SECTIONS.values() for name in places])
    text = usage("zmesh", "[OPTIONS] COMMAND [ARGS]...") + "\n" + paragraph(SUMMARY, 2, room)
    text += "\n" + paragraph(FIRST_STEPS, 2, room)
    for title, places in SECTIONS.items():
        text += section(title, [(name, place.help) for name, place in places.items()], names, room)
    text += section("Options", OPTIONS, names, room)
    return text + "\n" + paragraph("`zmesh COMMAND --help` describes a command.", 0, room)
