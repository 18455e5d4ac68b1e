"""The `zmesh` command. Commands import what they need when they run, so that each starts fast."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing itself would be an import
if TYPE_CHECKING:
    from collections.abc import Sequence

    import click

HELP = (["--help"], ["-h"])
COMPLETING = "_ZMESH_COMPLETE"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 done, 1 failed, 2 misused, 130 interrupted."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if words in HELP and COMPLETING not in os.environ:
            from cli.overview import overview

            sys.stdout.write(overview())
            status = 0
        else:
            status = _run(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has seen enough
        return 1
    return status


def _run(words: list[str]) -> int:
    import click

    from cli.output import show_only_text
    from cli.root import zmesh

    show_only_text()
    try:
        zmesh.main(words, prog_name="zmesh", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        return _show(error)
    except click.Abort:
        return 130
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


def _show(error: click.ClickException) -> int:
    from click.exceptions import NoArgsIsHelpError, UsageError

    if isinstance(error, UsageError) and not isinstance(error, NoArgsIsHelpError):
        from cli.usage_errors import explained

        error = explained(error)
    error.show()
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
