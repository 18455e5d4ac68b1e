"""Which files of the developer's machine `zmesh functions deploy --bundle` uploads."""

from __future__ import annotations

from pathlib import Path

from cli.functions.bundling import installed_files
from support.manifests import manifest_of


def test_what_a_package_lists_outside_of_itself_is_not_uploaded(tmp_path: Path) -> None:
    private = tmp_path / "id_rsa"
    private.write_text("secret")
    site = tmp_path / "report" / ".venv" / "lib" / "python3.11" / "site-packages"
    (site / "good-1.0.dist-info").mkdir(parents=True)
    (site / "good.py").write_text("")
    (site / "good-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: good\nVersion: 1.0\n")
    listed = ["good.py", str(private), "../../../../../id_rsa"]
    (site / "good-1.0.dist-info" / "RECORD").write_text("".join(f"{path},,\n" for path in listed))
    manifest = manifest_of("python", "", {"requirements.txt": "good"})
    assert manifest is not None
    assert installed_files(tmp_path / "report", manifest) == {"python/good.py": site / "good.py"}
