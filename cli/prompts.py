"""Prompts for secrets, which are never arguments that other users of the machine could see, and for consent."""

from __future__ import annotations

import sys

import click


def ask_secret(prompt: str, *, twice: bool = False) -> str:
    """Prompt without echo; without a terminal, read standard input up to its final newline."""
    if sys.stdin.isatty():
        answer: str = click.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True)
        return answer
    text = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not text:
        raise click.UsageError(f"{prompt}: not a terminal, and standard input is empty.")
    return text


def confirm(question: str, *, yes: bool) -> None:
    """Continue only with consent, given here or by --yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("Not a terminal; pass --yes to confirm.")
    click.confirm(question, abort=True, err=True)
