"""Archives of layers: what a hostile build may send, and that one set of files has one archive."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from listener import archives
from listener.archives import ArchiveError, hash_of, pack, unpack


def entry(path: bytes, content: bytes = b"x", executable: int = 0, length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    return len(path).to_bytes(2) + bytes([executable]) + size.to_bytes(8) + path + content


def unpacked(tmp_path: Path, *entries: bytes, runtime: str | None = "python") -> Path:
    folder = tmp_path / "layer"
    folder.mkdir()
    unpack(io.BytesIO(b"".join(entries)), folder, runtime)
    return folder


def test_files_come_out_as_they_went_in(tmp_path: Path) -> None:
    folder = unpacked(tmp_path, entry(b"python/a.py", b"1"), entry(b"python/b/run", b"#!", 1), entry(b"python/c", b""))
    assert (folder / "python/a.py").read_bytes() == b"1"
    assert oct((folder / "python/a.py").stat().st_mode & 0o7777) == "0o444"
    assert oct((folder / "python/b/run").stat().st_mode & 0o7777) == "0o555"
    assert b"".join(pack(folder)) == entry(b"python/a.py", b"1") + entry(b"python/b/run", b"#!", 1) + entry(
        b"python/c", b""
    )


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (b"/etc/passwd", "is not a path"),
        (b"python/../../escaped", "is not a path"),
        (b"../escaped", "is not a path"),
        (b"python/./a", "is not a path"),
        (b"python//a", "is not a path"),
        (b"python/a/", "is not a path"),
        (b"python/a\0b", "is not a path"),
        (b"python/" + b"n" * 256, "is not a path"),
        (b"", "out of order"),
        (b"python", "is not where packages are"),
        (b"node_modules/a", "is not where packages are"),
        (b"python/zmesh_runtime/__init__.py", "the name of a part of the platform"),
        (b"python/zmesh_runtime.py", "the name of a part of the platform"),
        (b"python/" + b"d/" * 40 + b"f", "too deep"),
        (b"python/" + b"name/" * 12 + b"n" * 2000, "too long"),
    ],
)
def test_a_path_that_does_not_belong_into_a_layer_is_refused(tmp_path: Path, path: bytes, reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason):
        unpacked(tmp_path, entry(path))
    assert not (tmp_path / "escaped").exists()


def test_names_that_are_there_twice_or_out_of_order_are_refused(tmp_path: Path) -> None:
    for number, second in enumerate((b"python/b", b"python/a")):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(ArchiveError, match="out of order or there twice"):
            unpacked(tmp_path / str(number), entry(b"python/b"), entry(second))


def test_a_name_that_is_a_file_and_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="is a file and a folder"):
        unpacked(tmp_path, entry(b"python/a"), entry(b"python/a/b"))


@pytest.mark.parametrize("executable", [2, 0o4, 255])
def test_no_mode_but_plain_and_executable_can_be_sent(tmp_path: Path, executable: int) -> None:
    with pytest.raises(ArchiveError, match="mode"):
        unpacked(tmp_path, entry(b"python/a", executable=executable))


def test_a_layer_that_is_too_large_is_refused_before_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="larger than 512 MiB"):
        unpacked(tmp_path, entry(b"python/a", b"", length=1 << 40))
    assert list((tmp_path / "layer").iterdir()) == []


def test_a_layer_with_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    with pytest.raises(ArchiveError, match="more than 3 files"):
        unpacked(tmp_path, *(entry(b"python/%d" % number) for number in range(4)))


def test_a_layer_with_too_many_folders_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes a block of the disk, though hardly a byte of the archive."""
    monkeypatch.setattr(archives, "MOST_FOLDERS", 3)
    with pytest.raises(ArchiveError, match="more than 3 folders"):
        unpacked(tmp_path, entry(b"python/a/a"), entry(b"python/b/c/d"))


def test_an_archive_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = entry(b"python/a", b"content")
    for length in range(1, len(whole)):
        (tmp_path / str(length)).mkdir()
        with pytest.raises(ArchiveError, match="cut off"):
            unpacked(tmp_path / str(length), whole[:length])


def test_the_hash_changes_with_any_file_mode_name_or_link(tmp_path: Path) -> None:
    folder = unpacked(tmp_path, entry(b"python/a", b"1"), entry(b"python/b", b"2"))
    whole = hash_of(folder)
    os.chmod(folder / "python/a", 0o555)
    executable = hash_of(folder)
    os.rename(folder / "python/b", folder / "python/c")
    assert len({whole, executable, hash_of(folder)}) == 3
    os.symlink("/etc/passwd", folder / "python/d")
    with pytest.raises(ArchiveError, match="neither a file nor a folder"):
        hash_of(folder)
