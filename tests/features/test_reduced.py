"""Large JPEGs are decoded at a reduced size: nearly the same features, by the same rule wherever they are computed."""

import io

import numpy as np
import pytest
from PIL import Image

from pairjepa.backbones.encoders import load_image_backbone
from pairjepa.backbones.preprocessing import MARGIN
from pairjepa.config.settings import ModelConfig
from pairjepa.features.work import ImageWork, strings
from pairjepa.pairs.images import decode, reduction
from pairjepa.pairs.scan import scan
from pairjepa.pairs.table import Pairs

from .filled import image_features
from .pictures import picture

SIDE = 64  # of tiny-resnet
LEAST = MARGIN * SIDE


@pytest.fixture(scope="module")
def backbone():
    return load_image_backbone(ModelConfig(image="tiny-resnet"), 0)


def jpeg(seed: int, width: int, height: int, exif: Image.Exif | None = None) -> bytes:
    file = io.BytesIO()
    small = picture(seed)
    small.resize((width, height), Image.Resampling.BICUBIC).save(
        file, "JPEG", quality=90, **({"exif": exif} if exif else {})
    )
    return file.getvalue()


@pytest.fixture
def opened(tmp_path):
    """`opened(files)`: pairs of these files, and their facts."""

    def make(files: dict[str, bytes]):
        folder = tmp_path / "data"
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        (folder / "captions.csv").write_text("image,caption\n" + "".join(f"{n},a picture\n" for n in files))
        pairs = Pairs.open(folder)
        return pairs, scan(pairs, tmp_path / "scan")

    return make


def rows(table) -> dict[int, np.ndarray]:
    return table.gather(np.arange(len(table)))


@pytest.mark.parametrize(
    ("width", "height"), [(LEAST, LEAST), (2 * LEAST - 1, 9 * LEAST), (1000, 2 * LEAST), (4000, 3000)]
)
def test_reduction_is_what_decode_does(width, height):
    data = jpeg(0, width, height)
    reduced = decode(data, draft=(LEAST, LEAST))
    size = reduced.info["whole"]
    scale = reduction(size, (LEAST, LEAST))
    assert reduced.size == (-(-width // scale), -(-height // scale))
    assert min(reduced.size) >= LEAST
    if scale == 1:
        np.testing.assert_array_equal(np.asarray(reduced), np.asarray(decode(data)))
    else:
        assert min(size) >= scale * LEAST


def test_features_of_large_jpegs_are_nearly_those_of_the_whole(backbone, opened, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    pairs, facts = opened(
        {"a.jpg": jpeg(1, 900, 800), "b.jpg": jpeg(2, 2000, 1600), "c.jpg": jpeg(3, 1600, 700, exif)}
    )
    got = rows(image_features(backbone, pairs, facts, ("whole", "centre"), tmp_path))
    scales = [
        int(key.partition("/")[2]) for key in strings(ImageWork.of(backbone, pairs, facts, ("whole",)).keys)
    ]
    assert scales == [4, 8, 2]

    class Whole:
        n_images, names, take = pairs.n_images, pairs.names, pairs.take

        def image(self, row, draft=None):
            return pairs.image(row)

    whole = rows(image_features(backbone, Whole(), facts, ("whole", "centre"), tmp_path / "whole"))
    cosines = (got * whole).sum(2) / np.linalg.norm(got, axis=2) / np.linalg.norm(whole, axis=2)
    assert cosines.min() > 0.999
    assert not np.array_equal(got, whole)


def test_small_jpegs_and_their_keys_are_as_they_were(backbone, opened, tmp_path):
    pairs, facts = opened({"a.jpg": jpeg(1, 224, 224), "b.jpg": jpeg(2, 2 * LEAST - 1, 5 * LEAST)})
    work = ImageWork.of(backbone, pairs, facts, ("whole",))
    assert strings(work.keys) == list(facts.digest)
    got = rows(image_features(backbone, pairs, facts, ("whole",), tmp_path))
    for row in range(2):
        np.testing.assert_array_equal(
            backbone.prepare(pairs.image(row, backbone.preprocessing.min_decode_size), "whole"),
            backbone.prepare(decode(pairs.read_bytes(row)), "whole"),
        )
    assert got.shape == (2, 1, backbone.width)


def test_enough_follows_what_the_centre_view_is_resized_to(backbone):
    preprocessing = backbone.preprocessing
    assert preprocessing.min_decode_size == (LEAST, LEAST)
    assert preprocessing.resized(128).min_decode_size == (2 * LEAST, 2 * LEAST)
