"""Names and digests that are read from a folder, which may be a stranger's, before they become a path."""

from pathlib import Path

import pytest

from pairjepa.util import checksums
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import digest, is_digest, stays_inside


@pytest.mark.parametrize("name", ["a", "a/b.json", ".hidden", "a..b", "image.onnx.data"])
def test_names_that_stay_in_their_folder(name: str) -> None:
    assert stays_inside(name)


OUTSIDE = [
    "",
    "/etc/passwd",
    "../a",
    "a/../../b",
    "..",
    "..\\a",
    "C:\\a",
    "C:a",
    "\\\\host\\share\\a",
    "a\\..\\b",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_elsewhere(name: str, tmp_path: Path) -> None:
    assert not stays_inside(name)
    checksums.write_record(
        tmp_path / checksums.FILE, {"format": checksums.FORMAT, "files": {name: digest(b"")}}
    )
    for look in (lambda: checksums.check(tmp_path, ""), lambda: checksums.verify(tmp_path)):
        with pytest.raises(PairJEPAError, match="must list files in its folder, got"):
            look()


def test_digests_are_digests() -> None:
    assert is_digest(digest("x"))
    for other in (
        "",
        "0" * 31,
        "0" * 33,
        "0" * 31 + "G",
        "../" + "0" * 29,
        "0" * 32 + "\n",
        0,
        None,
        b"0" * 32,
    ):
        assert not is_digest(other)
