"""Image-caption pairs: one Arrow table, one row an image."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32, Int64
from PIL import Image

from pairjepa.config.settings import DataConfig
from pairjepa.pairs import splits as splitting
from pairjepa.pairs.images import BadImage, bad_image, decode
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.raw import assemble, group_keys
from pairjepa.pairs.shards.reading import read as read_member
from pairjepa.pairs.sources import read
from pairjepa.pairs.vectors import INFO
from pairjepa.util.errors import PairJEPAError, UsageError, unknown
from pairjepa.util.files import digest_bytes
from pairjepa.util.progress import say
from pairjepa.util.words import counted


@dataclass(frozen=True, eq=False)
class Pairs:
    """Image-caption pairs: one Arrow table, one row an image.

    Attributes:
        table: `name` (string, unique), `path` (string, null where the bytes are in the row), `bytes`
            (large_binary, null where there is a path), `split` (string: train, dev, test, or rest, which is not
            used), `captions` (list<string>, at least one), `weights` where captions have some (list<float32>),
            `vectors` where they are vectors (list<fixed_size_list<float32>>; then `bytes` are `.npy` files), and
            metadata columns as they came. Pairs from shards have neither path nor bytes but `member`, a struct:
            `shard` (its path or URL) and `stamp` (another if the shard
            has changed), both dictionaries of strings, `offset` and `length` (int64, bytes). Pairs that were scanned
            have `digest` (string): an image file that is another one now is not read.
        description: what it is, for people.
        generated: whether the program drew the images itself.
        problems: what was counted and skipped while opening.
        root: the folder that it came from, if there is one.
        drawn: splits between which a hash chose: train, and those that were not given; see `twins.arranged`.
        group_column: column whose equal values stay in one split.
        drop_leaks: leave images out of a split if a later one holds near copies.
    """

    table: pa.Table
    description: str
    generated: bool = False
    problems: Problems = field(default_factory=Problems)
    root: Path | None = None
    drawn: tuple[str, ...] = ()
    group_column: str | None = None
    drop_leaks: bool = False

    @classmethod
    def open(
        cls,
        source: str | Path,
        *,
        image_column: str | None = None,
        caption_column: str | Sequence[str] | None = None,
        split_column: str | None = None,
        group_column: str | None = None,
        images: str | Path | None = None,
        no_header: bool = False,
        pairs: int | None = None,
        seed: int = 0,
        drop_leaks: bool = False,
    ) -> "Pairs":
        """Open pairs from any source that `pairjepa.pairs.sources` knows.

        Args:
            source: a folder, a table, shards (`.tar`, a pattern or a URL of them), a data set id of the Hugging Face
                hub, `shapes` or `shapes:3000`.
            image_column: column of the images, where usual names do not find it.
            caption_column: column of the captions, or several; `name=0.7` says how often each is drawn in training.
            split_column: column of the splits.
            group_column: column whose equal values stay in one split, where a hash draws the splits.
            images: the folder of the images, where they are not beside the table.
            no_header: the first line of a text table is a row; its columns are `1`, `2`, …, the image in the first and
                the caption in the second.
            pairs: keep about this many captions, chosen by image in every split; None keeps all.
            seed: seed of that choice, and of the drawing of `shapes`.
            drop_leaks: leave images out of which a later split (dev, test) holds near copies.

        Raises:
            PairJEPAError: nothing is there, nothing matches, or nothing usable is in it.
            UsageError: a setting does not fit the source.
        """
        if caption_column is not None:
            caption_column = (caption_column,) if isinstance(caption_column, str) else tuple(caption_column)
        config = DataConfig(
            source=str(source),
            image_column=image_column,
            caption_column=caption_column,
            split_column=split_column,
            group_column=group_column,
            images=None if images is None else str(images),
            no_header=no_header,
            pairs=pairs,
            seed=seed,
            drop_leaks=drop_leaks,
        )
        return open_pairs(config)

    @property
    def n_images(self) -> int:
        """Number of images."""
        return int(self.table.num_rows)

    def __len__(self) -> int:
        """Number of pairs, that is of captions."""
        return len(self.captions)

    @cached_property
    def captions(self) -> pa.Array:
        """All captions, image after image."""
        return pc.list_flatten(self.table["captions"]).combine_chunks()

    @cached_property
    def weights(self) -> np.ndarray | None:
        """How often each caption is drawn beside the others of its image; None where all are equal."""
        if "weights" not in self.table.column_names:
            return None
        found: np.ndarray = pc.list_flatten(self.table["weights"]).to_numpy()
        return found

    @cached_property
    def text_vectors(self) -> Float32[np.ndarray, "captions width"] | None:
        """The vector of each caption, where the pairs are vectors."""
        if "vectors" not in self.table.column_names:
            return None
        rows = pc.list_flatten(self.table["vectors"])
        found: np.ndarray = pc.list_flatten(rows).to_numpy().reshape(len(rows), -1)
        return found

    @property
    def vector_widths(self) -> tuple[int, int] | None:
        """Numbers in an image's and in a caption's vector, where the pairs are vectors."""
        if (texts := self.text_vectors) is None:
            return None
        return len(self.image(0).info[INFO]), texts.shape[1]

    @cached_property
    def captions_per_image(self) -> Int64[np.ndarray, " images"]:
        """How many captions each image owns."""
        lengths: np.ndarray = pc.list_value_length(self.table["captions"]).to_numpy()
        return lengths.astype(np.int64)

    @cached_property
    def owner(self) -> Int64[np.ndarray, " captions"]:
        """The row of the image that owns each caption, in ascending order."""
        return np.repeat(np.arange(self.n_images), self.captions_per_image)

    @cached_property
    def names(self) -> list[str]:
        """The names of the images, row by row."""
        names: list[str] = self.table["name"].to_pylist()
        return names

    @property
    def group_keys(self) -> list[str]:
        """What is the same for images of one group."""
        return self.names if self.group_column is None else group_keys(self.table, self.group_column)

    @cached_property
    def shards(self) -> Int64[np.ndarray, " images"] | None:
        """The number of the shard that each image is in; None where images are not in shards."""
        if "member" not in self.table.column_names:
            return None
        inside = pc.struct_field(self.table["member"], "shard").combine_chunks()
        numbers: np.ndarray = inside.indices.to_numpy(zero_copy_only=False)
        return numbers.astype(np.int64)

    @cached_property
    def splits(self) -> dict[str, tuple[int, int]]:
        """`{split: (images, captions)}` of the splits that are there."""
        column = self.table["split"].to_numpy()
        counts = {}
        for split in splitting.ORDER:
            inside = column == split
            if inside.any():
                counts[split] = (int(inside.sum()), int(self.captions_per_image[inside].sum()))
        return counts

    def split(self, name: str) -> "Pairs":
        """The pairs of one split; images that lie in memory are copied.

        Raises:
            UsageError: the name is no split.
            PairJEPAError: no image stands in that split.
        """
        self.check_split(name)
        return self._with(self.table.filter(pc.equal(self.table["split"], name)))

    def with_splits(self, splits: Sequence[str]) -> "Pairs":
        """The same pairs, with these splits image by image."""
        column = self.table.column_names.index("split")
        return self._with(self.table.set_column(column, "split", pa.array(splits, pa.string())))

    def captions_of(self, name: str) -> pa.Array:
        """The captions of one split, image after image.

        Raises:
            UsageError, PairJEPAError: as `split`.
        """
        self.check_split(name)
        inside = self.table["split"].to_numpy() == name
        return self.captions.filter(pa.array(inside[self.owner]))

    def check_split(self, name: str) -> None:
        """Raise `UsageError` if the name is no split, and `PairJEPAError` if no image stands in it."""
        if name not in splitting.ORDER:
            raise unknown("split", name, splitting.USED)
        if name not in self.splits:
            there = ", ".join(
                f"{split} ({counted(images, 'image')})" for split, (images, _) in self.splits.items()
            )
            raise PairJEPAError(
                f"The split {name!r} must hold at least one image, got none of {self.n_images:,}. There are: {there}. "
                "Give a split in the data (--data.split-column), or more images: without one, a hash of the "
                "image's name makes 80 % train, 10 % dev, 10 % test."
            )

    def check_trainable(self) -> None:
        """Raise `PairJEPAError` if there are too few images to train on or to choose the best epoch by."""
        for split, least in splitting.LEAST.items():
            self.check_split(split)
            if (found := self.splits[split][0]) < least:
                raise PairJEPAError(
                    f"The {split} split must hold at least {least} images, got {found}. Give more pairs."
                )

    def take(self, rows: np.ndarray) -> "Pairs":
        """The pairs of these images, in this order; of all of them, these pairs: nothing is copied."""
        if np.array_equal(rows, np.arange(self.n_images)):
            return self
        return self._with(self.table.take(pa.array(rows, pa.int64())))

    def read_bytes(self, row: int) -> bytes:
        """The image file of a row, as it is.

        Raises:
            BadImage: the file cannot be read, or has changed since it was scanned.
            PairJEPAError: the shard that it is in cannot be reached, or the system has no more open files or memory.
        """
        name = self._name(row)
        if "member" in self.table.column_names:
            member = self.table["member"][row].as_py()
            try:
                data = read_member(member["shard"], member["stamp"], member["offset"], member["length"])
            except BadImage as error:
                raise BadImage(error.reason, name) from None
        elif (path := self.table["path"][row].as_py()) is not None:
            try:
                data = Path(path).read_bytes()
            except OSError as error:
                raise bad_image(error, name) from None
        else:
            kept: bytes = self.table["bytes"][row].as_py()
            return kept
        if "digest" in self.table.column_names and digest_bytes(data) != self.table["digest"][row].as_py():
            raise BadImage("has changed", name)
        return data

    def image(self, row: int, draft: tuple[int, int] | None = None) -> Image.Image:
        """The picture of a row: RGB, upright.

        Args:
            row: which.
            draft: see `pairjepa.pairs.images.decode`.

        Raises:
            BadImage: it cannot be read or decoded.
        """
        try:
            return decode(self.read_bytes(row), draft=draft)
        except BadImage as error:
            raise BadImage(error.reason, self._name(row)) from None

    def __repr__(self) -> str:
        return f"Pairs({self.description!r}, {self.splits})"

    def _name(self, row: int) -> str:
        return str(self.table["name"][row])

    def scanned(self, digests: np.ndarray) -> "Pairs":
        """These pairs, whose image files are to stay what they are.

        Args:
            digests: of each image file.
        """
        return self._with(self.table.append_column("digest", pa.array(digests, pa.string())))

    def _with(self, table: pa.Table) -> "Pairs":
        return replace(self, table=table)


def open_pairs(config: DataConfig) -> Pairs:
    """Open the pairs that a run's settings name.

    Raises:
        UsageError: no source is named.
        PairJEPAError: as `Pairs.open`.
    """
    if config.source is None:
        raise UsageError(
            "data.source must name the pairs, got none. Give --data FOLDER, a table, a data set id of the Hugging "
            "Face hub, or shapes (pairs that the program draws itself)."
        )
    problems = Problems()
    raw = read(config, config.source, problems)
    table, origin, drawn = assemble(raw, problems, config.group_column)
    description = f"{raw.title} ({origin}), {counted(table.num_rows, 'image')}"
    rules = drawn, config.group_column, config.drop_leaks
    pairs = Pairs(table, description, raw.generated, problems, raw.root, *rules)
    if config.pairs is None:
        return pairs
    given = table["split"].to_numpy()
    keep = splitting.subsample(pairs.names, given, pairs.captions_per_image, config.pairs, config.seed)
    if keep.all():
        return pairs
    words = f"{description}, of which {keep.sum():,} chosen with seed {config.seed}"
    return replace(pairs._with(table.filter(pa.array(keep))), description=words)


def opened(pairs: Pairs | None, config: DataConfig) -> Pairs:
    """The pairs, and a line for each kind of problem that was met while they were opened."""
    pairs = pairs if pairs is not None else open_pairs(config)
    for line in pairs.problems.lines():
        say(f"warning: {line}.")
    return pairs
