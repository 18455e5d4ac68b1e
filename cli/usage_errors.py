"""Errors of the typed command, which click finds: said as all errors are, with a code and a hint. Exit status 2."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from cli.errors import CliError, did_you_mean
from support.texts import sentence

CHOICE = re.compile(r"'(?P<given>[^']*)' is not one of")


class UsageFailed(CliError):
    """The command was not typed as it is written."""

    exit_code = 2


def explained(error: click.UsageError) -> CliError:
    """The error with its code and a hint."""
    context = error.ctx
    message = sentence(error.format_message())
    if context is None:
        return UsageFailed(message, code="bad_usage", hint="See `zmesh --help`.")
    if isinstance(error, click.NoSuchOption):
        return _no_such_option(error.option_name, context)
    if isinstance(error, click.NoSuchCommand):
        return _no_such_command(error.command_name, context)
    if isinstance(error, click.MissingParameter):
        code = "missing_option" if isinstance(error.param, click.Option) else "missing_argument"
        return UsageFailed(message, code=code, hint=_how_to_write(context))
    if isinstance(error, click.BadParameter):
        return UsageFailed(message, code="bad_value", hint=_nearest_choice(error) or _help_of(context))
    return UsageFailed(message, code="bad_usage", hint=_how_to_write(context))


def _no_such_option(option: str, context: click.Context) -> CliError:
    names = [name for parameter in context.command.get_params(context) for name in _option_names(parameter)]
    hint = did_you_mean(option, names) or _option_of_below(option, context)
    message = f"`{context.command_path}` has no option {option}."
    return UsageFailed(message, code="unknown_option", hint=f"{hint} {_help_of(context)}".strip())


def _option_names(parameter: click.Parameter) -> list[str]:
    return [*parameter.opts, *parameter.secondary_opts] if isinstance(parameter, click.Option) else []


def _option_of_below(option: str, context: click.Context) -> str:
    """Options belong after the command that has them."""
    if not isinstance(context.command, click.Group):
        return ""
    return f"Options come after the command: `{context.command_path} COMMAND {option}`."


def _no_such_command(word: str, context: click.Context) -> CliError:
    group = context.command
    assert isinstance(group, click.Group)
    nearest = did_you_mean(word, group.commands)
    below = next(_groups_with(word, group), None)
    hint = f"Did you mean `{context.command_path} {below} {word}`?" if below else nearest
    message = f'`{context.command_path}` has no command "{word}".'
    return UsageFailed(message, code="unknown_command", hint=f"{hint} {_help_of(context)}".strip())


def _groups_with(word: str, group: click.Group) -> Iterator[str]:
    """Groups below this one that have the command, that of functions first."""
    for name in sorted(group.commands, key=lambda name: (name != "functions", name)):
        command = group.commands[name]
        if isinstance(command, click.Group) and word in command.commands:
            yield name


def _nearest_choice(error: click.BadParameter) -> str:
    kind = error.param.type if error.param is not None else None
    given = CHOICE.search(error.format_message())
    return did_you_mean(given["given"], kind.choices) if given and isinstance(kind, click.Choice) else ""


def _how_to_write(context: click.Context) -> str:
    words = " ".join(context.command.collect_usage_pieces(context))
    return f"Write `{context.command_path} {words}`. {_help_of(context)}"


def _help_of(context: click.Context) -> str:
    return f"See `{context.command_path} --help`."
