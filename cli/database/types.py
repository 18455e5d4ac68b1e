"""`zmesh types`: types of the project's tables, for editors and compilers."""

from __future__ import annotations

from pathlib import Path

import click

from cli.client import Client
from cli.connecting import connected
from cli.database.connecting import database_option, project_database
from cli.errors import CliError
from cli.output import progress


@click.command()
@click.option(
    "--language",
    type=click.Choice(["typescript", "python"]),
    default="typescript",
    show_default=True,
    help="Language of the types; JavaScript uses those of TypeScript.",
)
@click.option(
    "--output-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write, such as zmesh-tables.d.ts next to zmesh.d.ts, or zmesh_types.pyi. Default: standard output.",
)
@database_option
@connected
def types(client: Client, language: str, output_file: Path | None, database_url: str | None) -> None:
    """Write types of the project's tables, so that zmesh.db.select("orders") is typed in the editor.

    TypeScript: save them beside zmesh.d.ts. Python: save them as zmesh_types.pyi and import Zmesh from there, under
    if TYPE_CHECKING.
    """
    from cli.database.python_types import write_python
    from cli.database.typescript_types import write_typescript
    from sql.tables import describe_tables

    if output_file is not None and (language == "python") != (output_file.suffix == ".pyi"):
        raise CliError(
            f"{output_file} is not a name for types of {language.title()}.",
            code="bad_option",
            hint="Use .pyi for types of Python and .d.ts for types of TypeScript.",
        )
    with project_database(client, database_url, read_only=True) as connection:
        tables = describe_tables(connection)
    text = write_python(tables) if language == "python" else write_typescript(tables)
    if output_file is None:
        click.echo(text, nl=False)
        return
    try:
        output_file.write_text(text, "utf-8")
    except OSError as error:
        raise CliError(f"Cannot write {output_file}: {error.strerror}.", code="unreadable_file") from error
    progress(f"{len(tables)} {'table' if len(tables) == 1 else 'tables'} in {output_file}")
