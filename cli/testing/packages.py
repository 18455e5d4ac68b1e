"""The packages of functions under test: those that are installed beside them, copied to where runs can read them."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from cli.functions.bundling import installed_files
from sandbox import Image
from support.manifests import Manifest


class Packages:
    """Images for runs, made once for each function and kept until the tests have ended."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="zmesh-packages-")
        self.folder = Path(self._temporary.name)
        self.folder.chmod(0o711)  # runs have other user ids
        self._images: dict[Path, Image] = {}
        self._making = asyncio.Lock()

    async def installed(self, source: Path, manifest: Manifest, root: Path) -> Image:
        """The packages installed in the function's own folder, or where tests find them too: in the environment of this
        command (Python) or in a folder above it, up to `root` (Node.js). Raises CliError."""
        async with self._making:
            if source not in self._images:
                place = self.folder / str(len(self._images))
                also = Path(sys.prefix) if manifest.runtime == "python" else root
                await asyncio.to_thread(_copy, installed_files(source, manifest, also), place)
                self._images[source] = Image(place.name, place)
            return self._images[source]

    def close(self) -> None:
        """Delete them."""
        self._temporary.cleanup()


def _copy(files: dict[str, Path], place: Path) -> None:
    for name, file in files.items():
        (place / name).parent.mkdir(0o755, parents=True, exist_ok=True)
        shutil.copyfile(file, place / name)
        (place / name).chmod(0o555 if file.stat().st_mode & 0o111 else 0o444)
