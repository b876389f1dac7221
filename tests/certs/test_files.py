"""Files are written whole or not at all, keys for their owner alone, and nothing is replaced unasked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.pki import MISSING

pytest.importorskip("cryptography", reason=MISSING)

from meshproxy.certs import Refused, files


def test_keys_are_for_their_owner_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = {files.CA_KEY: b"k", files.KEY: b"k", files.CA: b"c"}
        written = files.write(tmp_path / "new" / "ca", made, replace=False)
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in written] == [0o600, 0o600, 0o644]
    assert [path.read_bytes() for path in written] == [b"k", b"k", b"c"]


def test_one_that_exists_keeps_all_of_them_away(tmp_path: Path) -> None:
    # a link that leads nowhere is in the way too: who made it may want the key elsewhere
    (tmp_path / files.CERTIFICATE).symlink_to(tmp_path / "elsewhere")
    made = {files.KEY: b"k", files.CERTIFICATE: b"c"}
    with pytest.raises(Refused, match=r"cert\.pem would be replaced, which only --force does"):
        files.write(tmp_path, made, replace=False)
    assert os.listdir(tmp_path) == [files.CERTIFICATE]
    files.write(tmp_path, made, replace=True)
    assert sorted(os.listdir(tmp_path)) == [files.CERTIFICATE, files.KEY]
    assert not (tmp_path / files.CERTIFICATE).is_symlink()


def test_who_is_slower_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writes the second file after it was seen that none is there."""
    link = os.link

    def late(source: str, path: Path) -> None:
        if path.name == files.CERTIFICATE:
            path.write_bytes(b"other")
        link(source, path)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(FileExistsError):
        files.write(tmp_path, {files.KEY: b"k", files.CERTIFICATE: b"c"}, replace=False)
    assert os.listdir(tmp_path) == [files.CERTIFICATE]
    assert (tmp_path / files.CERTIFICATE).read_bytes() == b"other"


def test_a_disk_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write(tmp_path, {files.KEY: b"old"}, replace=False)

    def full(_: int) -> None:
        raise OSError("full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        files.write(tmp_path, {files.KEY: b"new"}, replace=True)
    assert os.listdir(tmp_path) == [files.KEY]
    assert (tmp_path / files.KEY).read_bytes() == b"old"


def test_what_is_too_large_is_not_read(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(files.MOST_BYTES + 1)
    with pytest.raises(Refused, match="large: is larger than"):
        files.read(large, bytes)
