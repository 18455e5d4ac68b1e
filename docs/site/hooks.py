"""What makes a site of the docs: files of the repository that they link to, and each page as Markdown for programs."""

from __future__ import annotations

import posixpath
import re
import shutil
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
DOCS = "docs"
OUTSIDE = "repository"  # the folder of the site that has files from outside docs/
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
FENCE = re.compile(r"^( *```\w+) +(\S*)[^\n]*$", re.MULTILINE)  # words after the language are for our tests
CELL = re.compile(r"<t[dh]\b.*?</t[dh]>", re.DOTALL)
SENTENCE = re.compile(r".+?[.:](?=\s|$)", re.DOTALL)
NO_TEXT = ("#", "|", "`" * 3, "!", "<", "- ", "**")  # how headings, tables, code, pictures and lists begin

_pages: list[Page] = []


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files outside docs/ that pages link to, and those that these link to."""
    todo = [ROOT / DOCS / file.src_uri for file in files.documentation_pages()] + [ROOT / "README.md"]
    for path in todo:
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(f"{DOCS}/"):
            files.append(File.generated(config, f"{OUTSIDE}/{name}", abs_src_path=str(path)))
        if path.suffix == ".md":
            linked = {_target(name, found[2]) for found in LINK.finditer(path.read_text())}
            todo += sorted({_file(target) for target in linked if not target.startswith(f"{DOCS}/")} - set(todo))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Points links at the places that the files have in the site."""
    name = page.file.src_uri
    here = name.removeprefix(f"{OUTSIDE}/") if name.startswith(f"{OUTSIDE}/") else f"{DOCS}/{name}"

    def moved(found: re.Match[str]) -> str:
        target = _file(_target(here, found[2])).relative_to(ROOT).as_posix()
        place = target.removeprefix(f"{DOCS}/") if target.startswith(f"{DOCS}/") else f"{OUTSIDE}/{target}"
        return f"{found[1]}{posixpath.relpath(place, posixpath.dirname(name) or '.')}{found[3]}"

    return FENCE.sub(_fence, LINK.sub(moved, markdown))


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    r"""Shows `a\|b` in tables as a|b, as repositories do: Python-Markdown keeps the backslash in code."""
    return CELL.sub(lambda cell: cell[0].replace(r"\|", "|"), html)


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """Remembers the pages in the order of the menu."""
    _pages[:] = nav.pages
    return nav


def on_post_build(config: MkDocsConfig) -> None:
    """Puts each page's Markdown beside it, and lists the pages in llms.txt (https://llmstxt.org)."""
    lines = [f"# {config.site_name}", ""]
    for page in _pages:
        source = Path(str(page.file.abs_src_path))
        place = Path(config.site_dir, page.file.src_uri)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)
        lines.append(f"- [{page.title}]({page.file.src_uri}): {_about(source.read_text())}")
    Path(config.site_dir, "llms.txt").write_text("\n".join(lines) + "\n")


def _about(markdown: str) -> str:
    """The first sentence of a page, without its links."""
    text = next((part for part in markdown.split("\n\n") if not part.lstrip().startswith(NO_TEXT)), "")
    sentence = SENTENCE.match(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text))
    return " ".join((sentence[0] if sentence else text).split())


def _fence(found: re.Match[str]) -> str:
    return f'{found[1]} title="{found[2]}"' if "." in found[2] else found[1]


def _target(name: str, link: str) -> str:
    """The path in the repository that a link of the file of this name means."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), link))


def _file(target: str) -> Path:
    """The file of a path; of a folder, its README or else its first file."""
    path = ROOT / target
    if not path.is_dir():
        return path
    return path / "README.md" if (path / "README.md").exists() else sorted(path.iterdir())[0]
