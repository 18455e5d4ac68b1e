"""Sealed texts open with the keys and for the purpose that they were sealed with."""

from __future__ import annotations

import pytest

from support.sealing import Sealer, SealingError


def test_every_key_opens_and_the_first_one_seals() -> None:
    old, new = Sealer.new_key(), Sealer.new_key()
    before, during, after = Sealer(old), Sealer(f"{new}, {old}"), Sealer(new)
    sealed = before.seal("open sesame", "cave")
    assert during.open(sealed, "cave") == "open sesame"
    assert during.open(after.seal("sesame", "cave"), "cave") == "sesame"
    assert not during.is_current(sealed)
    assert during.is_current(after.seal("sesame", "cave"))
    assert after.open(during.seal("sesame", "cave"), "cave") == "sesame"
    with pytest.raises(SealingError):
        after.open(sealed, "cave")
    with pytest.raises(SealingError):
        before.open(sealed, "another cave")
    with pytest.raises(SealingError):
        before.open(sealed[:-1] + bytes([sealed[-1] ^ 1]), "cave")


def test_texts_sealed_before_key_ids_existed_can_be_opened() -> None:
    old, new = Sealer.new_key(), Sealer.new_key()
    sealed = Sealer(old).seal("sesame", "cave")[5:]
    assert Sealer(f"{new},{old}").open(sealed, "cave") == "sesame"
    assert not Sealer(old).is_current(sealed)


@pytest.mark.parametrize(
    "keys",
    ["", "short", "not base64!", f"{Sealer.new_key()},"],
    ids=["empty", "short", "no base64", "comma at the end"],
)
def test_malformed_keys_are_refused(keys: str) -> None:
    with pytest.raises(SealingError):
        Sealer(keys)
