"""A new project folder."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from cli.errors import CliError

TYPES = ("zmesh.d.ts", "zmesh-testing.d.ts", "node.d.ts")  # those of the SDK, for editors


def write_project(folder: Path, language: str, pipeline: str) -> list[str]:
    """Write the files of the templates, with a pipeline of GitHub or GitLab; returns their paths. Raises CliError
    before anything is written where one of them exists."""
    templates = [_template(name) for name in ("all", language, pipeline)]
    files = {path: content for template in (*templates, _types(language)) for path, content in template.items()}
    if existing := sorted(path for path in files if (folder / path).exists() or (folder / path).is_symlink()):
        raise CliError(
            f"{folder} already has {', '.join(existing)}. Nothing was written.",
            code="file_exists",
            hint="Choose another folder, or move these away. `zmesh pull` writes the folder of a project that runs.",
        )
    try:
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            with (folder / path).open("xb") as file:
                file.write(content)
    except OSError as error:
        raise CliError(f"{error.filename} cannot be written: {error.strerror}.", code="unwritable_file") from error
    return sorted(files)


def _template(name: str) -> dict[str, bytes]:
    root = Path(str(resources.files("cli"))) / "templates" / name
    return {
        str(path.relative_to(root)).replace("dot-", "."): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def _types(language: str) -> dict[str, bytes]:
    if language == "python":
        return {}
    sdk = Path(str(resources.files("sdk"))) / "javascript"
    return {name: (sdk / name).read_bytes() for name in TYPES}
