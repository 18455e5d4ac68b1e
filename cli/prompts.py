"""What only a person can say: secrets, never as arguments that other users of the machine see, and consent."""

from __future__ import annotations

import sys

import rich_click as click


def ask_secret(prompt: str, *, twice: bool = False) -> str:
    """Asked for without showing it; where nobody sits at a terminal, standard input without its last line end."""
    if sys.stdin.isatty():
        answer: str = click.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True)
        return answer
    given = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not given:
        raise click.UsageError(f"{prompt}: not a terminal, and standard input is empty.")
    return given


def confirm(question: str, *, yes: bool) -> None:
    """Go on only with consent, given here or as --yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("Not a terminal; pass --yes to confirm.")
    click.confirm(question, abort=True, err=True)
