"""Runs find the packages of their image, and nothing of another's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox import images
from tests.sandbox.hosts import SUFFIXES, Host

OURS = {
    "python/greeting.py": "def hello(name):\n    return f'hello {name}'\n",
    "python/json.py": "raise RuntimeError('the standard library comes first')\n",
    "python/psycopg/__init__.py": "raise RuntimeError('the driver is the platform\\'s')\n",
    "python/psycopg2/__init__.py": "raise RuntimeError('the driver is the platform\\'s')\n",
    "python/zmesh_runtime/__init__.py": "raise RuntimeError('the runtime is the platform\\'s')\n",
    "python/typing_extensions.py": "OURS = True\n",
    "python/program": "#!/bin/sh\necho ran\n",
    "node_modules/greeting/index.js": "exports.hello = (name) => `hello ${name}`; exports.pg = () => require('pg');\n",
    "node_modules/modern/index.mjs": "import { hello } from 'greeting'; export default (name) => hello(name);\n",
    "node_modules/pg/index.js": "module.exports = 'of the image'\n",
    "node_modules/fs/index.js": "throw new Error('the modules of Node.js come first')\n",
}
THEIRS = {
    "python/their_secret.py": "VALUE = 'theirs'\n",
    "node_modules/their-secret/index.js": "module.exports = 'theirs'\n",
}
USES = {
    "python": "import greeting; return greeting.hello(payload)",
    "javascript": "return require('greeting').hello(payload)",
}


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Images by name; those of the registries are installed when the first test asks for them."""
    folder = tmp_path_factory.mktemp("images")
    images.write(folder / "ours", OURS)
    images.write(folder / "theirs", THEIRS)

    def find(name: str) -> Path:
        if name == "registries" and not (folder / name).exists():
            images.install(folder / name)
        return folder / name

    return find


def test_a_run_uses_the_packages_of_its_image(host: Host, language: str, sources: Any) -> None:
    image = images.place(host, sources("ours"))

    assert host.value(language, USES[language], '"Ada"', image=image) == "hello Ada"


def test_packages_are_gone_for_the_next_run(host: Host, language: str, sources: Any) -> None:
    image = images.place(host, sources("ours"))
    assert host.value(language, USES[language], '"Ada"', image=image) == "hello Ada"

    outcome = host.run(language, USES[language], '"Ada"')

    assert outcome.error is not None
    assert "greeting" in outcome.error.message


def test_modules_of_an_image_are_imported(kind: str, host: Host, sources: Any) -> None:
    image = images.place(host, sources("ours"))

    assert (
        host.value("javascript", "return (await import('modern')).default(payload)", '"Ada"', image=image)
        == "hello Ada"
    )


def test_the_nearest_packages_win(host: Host, language: str, sources: Any) -> None:
    image = images.place(host, sources("ours"))
    own = {
        "python": {"greeting.py": "def hello(name): return 'nearer'"},
        "javascript": {"node_modules/greeting/index.js": "exports.hello = () => 'nearer';"},
    }
    entry_file = f"attack.{SUFFIXES[language]}"

    for _ in range(2):  # a package that is loaded already is no nearer
        value = host.value(language, USES[language], image=image, files=own[language], entry_file=entry_file)
        assert value == "nearer"
    assert host.value(language, USES[language], '"Ada"', image=image) == "hello Ada"


def test_an_image_takes_the_place_of_nothing_that_the_platform_brings(kind: str, host: Host, sources: Any) -> None:
    image = images.place(host, sources("ours"))

    assert (
        host.value(
            "python",
            "import json, psycopg, psycopg2, zmesh_runtime, typing_extensions\n"
            "return [callable(json.dumps), callable(psycopg.connect), callable(psycopg2.connect),"
            " callable(zmesh_runtime.serve), typing_extensions.OURS]",
            image=image,
        )
        == [True] * 5
    )
    assert host.value(
        "javascript",
        # A package of the image gets the pg that it was installed with.
        "return [typeof require('fs').readFileSync, require('pg').Client.name, require('greeting').pg()]",
        image=image,
    ) == ["function", "Client", "of the image"]


def test_an_image_cannot_be_written_to(host: Host, language: str, sources: Any) -> None:
    image = images.place(host, sources("ours"))
    tries = {
        "python": """
        import greeting, os
        folder, found = os.path.dirname(greeting.__file__), []
        tries = {
            "write": lambda: open(greeting.__file__, "a"),
            "create": lambda: open(f"{folder}/new", "w"),
            "remove": lambda: os.unlink(greeting.__file__),
            "replace": lambda: os.rename(greeting.__file__, f"{folder}/other"),
            "chmod": lambda: os.chmod(greeting.__file__, 0o777),
            "touch": lambda: os.utime(greeting.__file__, (1, 1)),
        }
        for name, act in tries.items():
            try:
                act()
                found.append(name)
            except OSError:
                pass
        return found
        """,
        "javascript": """
        const fs = require('fs'), file = require.resolve('greeting'), found = [];
        const tries = {
          write: () => fs.appendFileSync(file, ' '),
          create: () => fs.writeFileSync(file + '.new', ''),
          remove: () => fs.unlinkSync(file),
          replace: () => fs.renameSync(file, file + '.other'),
          chmod: () => fs.chmodSync(file, 0o777),
          touch: () => fs.utimesSync(file, 1, 1),
        };
        for (const [name, act] of Object.entries(tries)) {
          try { act(); found.push(name); } catch {}
        }
        return found;
        """,
    }
    # Without namespaces Landlock cannot refuse a change of modes and times to the owner, who is the platform's own user.
    allowed = ["chmod", "touch"] if kind_of(host) == "process_of_user" else []

    assert set(host.value(language, tries[language], image=image)) <= set(allowed)


def kind_of(host: Host) -> str:
    return "process_of_user" if host.mode == "process" and host.user else host.mode


def test_images_of_others_cannot_be_seen(host: Host, language: str, sources: Any) -> None:
    image = images.place(host, sources("ours"))
    theirs = images.place(host, sources("theirs"))
    looks = {
        "python": "import importlib.util, os\n"
        "def there(path):\n"
        "    try:\n        return os.listdir(path)\n"
        "    except OSError:\n        return []\n"
        "return importlib.util.find_spec('their_secret') is not None, [there(path) for path in payload]",
        "javascript": "const there = (path) => { try { return require('fs').readdirSync(path) } catch { return [] } };"
        "let found = true; try { require('their-secret') } catch { found = false } return [found, payload.map(there)]",
    }
    paths = [
        str(theirs.path),
        str(theirs.path.parent),
        "/images",
        f"/images/{theirs.id}",
        f"/image/../images/{theirs.id}",
    ]

    found = host.value(language, looks[language], json.dumps(paths), image=image)

    assert found == [False, [[]] * len(paths)]
    assert host.value(language, looks[language], json.dumps(paths)) == [False, [[]] * len(paths)]


def test_a_link_that_leads_out_of_an_image_leads_to_nothing(
    host: Host, language: str, sources: Any, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("secret")
    source = images.write(tmp_path / f"links-{language}", {"python/linked.py": "", "node_modules/linked/index.js": ""})
    for folder in ("python", "node_modules"):
        (source / folder / "out").symlink_to(outside)
        (source / folder / "up").symlink_to("../../theirs")
        (source / folder / "root").symlink_to("/proc/1/root")
    image = images.place(host, source)
    images.place(host, sources("theirs"))
    reads = {
        "python": """
        import linked, os
        folder, found = os.path.dirname(linked.__file__), []
        for path in ("out", "up/python/their_secret.py", "root/etc/shadow", "root/images"):
            try:
                found.append(open(f"{folder}/{path}").read() if "." in path or path == "out" else os.listdir(f"{folder}/{path}"))
            except OSError:
                pass
        return [one for one in found if one]
        """,
        "javascript": """
        const fs = require('fs'), folder = require('path').dirname(require.resolve('linked')) + '/..', found = [];
        for (const path of ['out', 'up/python/their_secret.py', 'root/etc/shadow', 'root/images'])
          try { found.push(fs.statSync(`${folder}/${path}`).isDirectory() ? fs.readdirSync(`${folder}/${path}`).join() : fs.readFileSync(`${folder}/${path}`, 'utf8')) } catch {}
        return found.filter(Boolean);
        """,
    }

    assert host.value(language, reads[language], image=image) == []


def test_packages_of_the_registries_work(kind: str, host: Host, sources: Any) -> None:
    image = images.place(host, sources("registries"))

    assert host.value(
        "python", "import msgspec; return [msgspec.json.decode(b'[1]'), msgspec.__version__]", image=image
    ) == [
        [1],
        "0.19.0",
    ]
    body = "const { z } = require('zod'); return z.object({ name: z.string() }).safeParse(payload).success"
    assert host.value("javascript", body, '{"name": "Ada"}', image=image) is True


def test_a_folder_that_is_not_among_the_images_is_refused(kind: str, host: Host, tmp_path: Path) -> None:
    images.write(tmp_path, OURS)

    outcome = host.run("python", "return 1", image=images.Image("elsewhere", tmp_path))

    assert outcome.error is not None
    assert outcome.error.type == "sandbox_failed"
    assert f"elsewhere is not a folder below {host.run_dir / 'images'}" in outcome.error.message
