"""The settings of a function as options of `deploy` and `update`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
NONE = "none"


def _limit(_context: click.Context, _option: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == NONE:
        return value
    if not value.isdecimal() or not 1 <= int(value) <= 1_000_000:
        raise click.BadParameter(f"must be a number from 1 to 1000000, or none (got {value}).")
    return int(value)


def _number(flag: str, highest: int, help: str, lowest: int = 1) -> Callable[[Command], Command]:
    return click.option(flag, type=click.IntRange(lowest, highest), help=f"{help} At most {highest}.")


_OF_RUNS = (
    click.option(
        "--entry-point", help="Name of the function to call in the code. Default for a new function: handler."
    ),
    click.option(
        "--style",
        type=click.Choice(["lambda", NONE]),
        help="lambda: the handler takes (event, context), as on AWS Lambda. Default for a new function: none.",
    ),
    _number("--timeout-ms", 900_000, "Wall-clock limit of a run. Default for a new function: 10000."),
    _number("--memory-mb", 8192, "Memory limit of a run, from 64 on. Default for a new function: 256.", lowest=64),
    click.option("--env", "variables", multiple=True, metavar="KEY=VALUE", help="Set a variable; repeatable."),
    click.option("--unset", multiple=True, metavar="KEY", help="Remove a variable; repeatable."),
    click.option(
        "--network",
        type=click.Choice(["open", NONE]),
        help="What runs may connect to: anything, or only the project's database.",
    ),
)
_OPTIONS = (
    *_OF_RUNS,
    click.option(
        "--init",
        type=click.Choice(["once", NONE]),
        help="once: top-level code runs once, and runs are forked from that process. Default for a new function: none.",
    ),
    click.option(
        "--preload",
        multiple=True,
        metavar="PACKAGE",
        help="Package that is imported before runs are forked, or none: those that runs import; repeatable.",
    ),
    _number("--max-attempts", 100, "Attempts of an invocation that no caller waits for."),
    _number("--retry-base-ms", 86_400_000, "Wait after the first failed attempt; doubles each time."),
    _number("--retry-max-ms", 604_800_000, "The longest wait between two attempts."),
    click.option(
        "--max-concurrency",
        metavar="N|none",
        callback=_limit,
        help="Largest number of concurrent runs; none: the project's limit.",
    ),
    _number("--max-concurrency-per-key", 1_000_000, "Largest number of concurrent runs with the same concurrency key."),
    click.option("--auth", type=click.Choice(["api_key", "jwt", NONE]), help="Who may call the public route."),
    click.option(
        "--method",
        "methods",
        multiple=True,
        metavar="METHOD",
        help="HTTP method that the public route accepts; repeatable.",
    ),
    click.option(
        "--cors-origin",
        "cors_origins",
        multiple=True,
        metavar="ORIGIN",
        help="Origin of web pages that may call the function: *, none, or a URL; repeatable.",
    ),
    click.option(
        "--anonymous-option",
        "anonymous_options",
        multiple=True,
        metavar="OPTION",
        help="Option that callers without credentials may set, such as idempotency_key, or none; repeatable.",
    ),
    click.option(
        "--key-option",
        "key_options",
        multiple=True,
        metavar="OPTION",
        help="Option that API keys may set, such as version or callback_url, or none; repeatable.",
    ),
    click.option(
        "--public-errors/--no-public-errors",
        "public_errors",
        default=None,
        help="Whether callers without credentials get the details of errors.",
    ),
    click.option("--description", help="What the function is for."),
    click.option("--tag", "tags", multiple=True, metavar="TAG", help="Tag, or none; repeatable."),
    click.option("--enable/--disable", "enabled", default=None, help="Whether the function may be invoked."),
)


def settings_options(command: Command) -> Command:
    """Adds the options; `settings_of` makes a function's fields of them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def run_options(command: Command) -> Command:
    """Adds only what decides how a run goes."""
    for option in reversed(_OF_RUNS):
        command = option(command)
    return command


def settings_of(options: dict[str, Any]) -> dict[str, Any]:
    """The fields that were given. Lists replace existing ones; variables are added, or removed if None."""
    fields = {name: value for name, value in options.items() if value is not None and value != ()}
    if "variables" in fields or "unset" in fields:
        variables: dict[str, str | None] = dict(_variable(text) for text in fields.pop("variables", ()))
        fields["env_vars"] = {**variables, **dict.fromkeys(fields.pop("unset", ()))}
    for name in ("tags", "cors_origins", "anonymous_options", "key_options", "preload"):
        if name in fields:
            fields[name] = [] if fields[name] == (NONE,) else list(fields[name])
    if "methods" in fields:
        fields["methods"] = [method.upper() for method in fields["methods"]]
    for name in ("max_concurrency", "style", "init"):
        if fields.get(name) == NONE:
            fields[name] = None
    return fields


def _variable(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise click.BadParameter(f'"{text}" is not KEY=VALUE.', param_hint="--env")
    return key, value
