"""What is in a tar file, header by header: nothing is unpacked, and the bytes of images are stepped over.

A WebDataset sample is the files that follow each other and share their path up to the first dot of the name:
`a/000.jpg`, `a/000.txt`, `a/000.json` (https://github.com/webdataset/webdataset).
"""

import re
import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from pairjepa.pairs.folders import is_image
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.shards.places import Shard

MAX_TEXT = 1 << 20
"""Bytes of the longest text or JSON that is read."""

_ESCAPED = re.compile("%(2E|25)", re.IGNORECASE)


class CutShort(Exception):
    """The tar ends, or is damaged, before its end mark; what was before is good."""


@dataclass
class Sample:
    """The files of one key."""

    key: str
    files: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """For each suffix: name in the tar, first byte, length."""
    images: list[str] = field(default_factory=list)
    """The suffixes of images."""
    texts: dict[str, bytes] = field(default_factory=dict)
    """Content by suffix of the files that were asked for."""

    @property
    def dotted(self) -> bool:
        """Whether it looks like several samples whose names share their beginning, up to the first dot."""
        texts = {suffix.rpartition(".")[0] for suffix in self.files if suffix.endswith((".txt", ".json"))}
        return len(self.images) > 1 and bool(
            texts & {suffix.rpartition(".")[0] for suffix in self.images} - {""}
        )


def samples(
    file: Any, shard: Shard, texts: Collection[str], image: str, problems: Problems
) -> Iterator[Sample]:
    """The samples of a tar, in order, those before its end or damage.

    Args:
        file: the tar, seekable.
        shard: what it is.
        texts: suffixes (`txt`, `json`) of files whose content is wanted.
        image: suffix of files that are images, beside the usual ones.
        problems: where it is said that the tar is cut, or none.
    """
    sample = Sample("")
    problem = None
    try:
        for member in _members(file, shard.size):
            folder, slash, base = member.name.removeprefix("./").rpartition("/")
            stem, _, suffix = base.partition(".")
            suffix = suffix.lower()
            if not stem or not suffix:
                continue  # hidden, or of no sample
            key = folder + slash + stem
            if key != sample.key or suffix in sample.files:
                if sample.files:
                    yield sample
                sample = Sample(key)
            sample.files[suffix] = member.name.removeprefix("./"), member.offset_data, member.size
            if suffix in texts:
                if member.size <= MAX_TEXT:
                    file.seek(member.offset_data)
                    sample.texts[suffix] = file.read(member.size)
            elif is_image(base) or suffix == image:
                sample.images.append(suffix)
    except CutShort:
        problem = "shards that end in the middle or are damaged (what is before that is used)"
    except tarfile.ReadError:
        problem = "shards that are no tar file (skipped)"
    if sample.files:
        yield sample
    if problem:
        problems.add(problem, [shard.name])


def escaped(name: str) -> str:
    """A name whose file part has one dot, that of its suffix, so that a key is not cut in it."""
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.rpartition(".")
    return folder + slash + (stem.replace("%", "%25").replace(".", "%2E") + dot + suffix)


def unescaped(name: str) -> str:
    """The name that `escaped` was given."""
    return _ESCAPED.sub(lambda code: chr(int(code[1], 16)), name)


def _members(file: Any, size: int) -> Iterator[tarfile.TarInfo]:
    """Regular files that are there to their last byte."""
    with tarfile.open(fileobj=file, mode="r:") as tar:
        end = 0
        while True:
            try:
                member = tar.next()
            except tarfile.ReadError:
                raise CutShort from None
            tar.members.clear()  # type: ignore[attr-defined]  # else all headers of the shard stay in memory
            if member is None:
                break
            # a damaged length must not lead backwards, nor past the end
            if member.size < 0 or member.offset < end or member.offset_data + member.size > size:
                raise CutShort
            end = member.offset_data + member.size
            if member.isreg() and not member.issparse():
                yield member
        # A header that is cut or damaged looks like the end to tarfile, but the end mark is two blocks of zeros.
        file.seek(tar.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise CutShort
