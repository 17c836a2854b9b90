"""The centre view against Transformers' own processors, and the other views against their definition."""

import importlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pairjepa.backbones.preprocessing import _FAMILIES, Preprocessing, parse, read_preprocessing
from pairjepa.util.errors import PairJEPAError

from .pictures import picture


def processor_class(module: str, name: str) -> type:
    return getattr(
        importlib.import_module(f"transformers.models.{module}.image_processing_pil_{module}"), name
    )


def normalised(preprocessing: Preprocessing, image: Image.Image, view: str = "centre") -> np.ndarray:
    """(3, size, size) float32, as a backbone is given it."""
    pixels = preprocessing.prepare(image, view).astype(np.float32)
    mean, std = np.float32(preprocessing.mean), np.float32(preprocessing.std)
    return ((pixels - mean) / std).transpose(2, 0, 1)


SQUARE = {"height": 48, "width": 48}
CASES = [
    ("mobilenet_v2", "MobileNetV2", {}),
    ("mobilenet_v2", "MobileNetV2", {"size": {"shortest_edge": 60}, "crop_size": SQUARE, "resample": 3}),
    (
        "mobilenet_v2",
        "MobileNetV2",
        {"size": {"shortest_edge": 40}, "crop_size": {"height": 57, "width": 57}},
    ),
    ("mobilenet_v1", "MobileNetV1", {}),
    ("vit", "ViT", {}),
    ("vit", "ViT", {"size": SQUARE, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.2, 0.3, 0.4]}),
    ("vit", "ViT", {"do_normalize": False}),
    ("vit", "ViT", {"do_rescale": False}),
    ("vit", "ViT", {"do_center_crop": True, "size": {"height": 60, "width": 60}, "crop_size": SQUARE}),
    ("deit", "DeiT", {}),
    ("beit", "Beit", {}),
    ("convnext", "ConvNext", {}),
    ("convnext", "ConvNext", {"size": {"shortest_edge": 224}, "crop_pct": 0.875}),
    ("convnext", "ConvNext", {"size": {"shortest_edge": 63}, "crop_pct": 0.9, "resample": 2}),
    ("vit", "ViT", {"size": [48, 48], "resample": 1, "do_flip_channel_order": True, "include_top": True}),
    ("clip", "CLIP", {"size": 60, "default_to_square": True, "crop_size": [48, 48], "resample": 5}),
    ("bit", "Bit", {}),
    ("bit", "Bit", {"size": {"shortest_edge": 256}, "image_mean": [0.485, 0.456, 0.406]}),
    ("blip", "Blip", {}),
    ("chinese_clip", "ChineseCLIP", {}),
    ("clip", "CLIP", {}),
    ("dpt", "DPT", {}),
    ("flava", "Flava", {}),
    ("levit", "Levit", {}),
    ("levit", "Levit", {"size": {"shortest_edge": 60}, "crop_size": SQUARE, "resample": 2}),
    ("levit", "Levit", {"size": {"height": 60, "width": 60}, "crop_size": SQUARE}),
    ("levit", "Levit", {"crop_pct": 0.8}),
    ("mobilevit", "MobileViT", {}),
    ("mobilevit", "MobileViT", {"size": {"shortest_edge": 60}, "crop_size": SQUARE, "resample": 2}),
    ("mobilevit", "MobileViT", {"do_flip_channel_order": False}),
    ("owlvit", "OwlViT", {}),
    ("poolformer", "PoolFormer", {}),
    ("poolformer", "PoolFormer", {"size": SQUARE, "crop_size": SQUARE, "crop_pct": 0.95}),
    ("pvt", "Pvt", {}),
    ("segformer", "Segformer", {}),
    ("segformer", "Segformer", {"size": SQUARE, "do_center_crop": True, "crop_size": 40}),
    ("siglip", "Siglip", {}),
    ("efficientnet", "EfficientNet", {}),
    ("efficientnet", "EfficientNet", {"size": SQUARE, "resample": 0, "include_top": False}),
    ("efficientnet", "EfficientNet", {"size": SQUARE, "rescale_offset": True, "rescale_factor": 1 / 127.5}),
    ("efficientnet", "EfficientNet", {"size": SQUARE, "do_normalize": False}),
    (
        "efficientnet",
        "EfficientNet",
        {"size": SQUARE, "do_center_crop": True, "crop_size": {"height": 40, "width": 40}},
    ),
]


@pytest.mark.parametrize("shape", [(75, 100), (100, 75), (301, 64)], ids=str)
@pytest.mark.parametrize(("module", "family", "values"), CASES)
def test_centre_is_what_the_processor_of_the_family_gives(module, family, values, shape):
    """Whether its settings stand in the file or are left out there."""
    processor = processor_class(module, f"{family}ImageProcessorPil")(**values)
    image = picture(0, *shape)
    expected = processor(image, return_tensors="np")["pixel_values"][0]

    saved = json.loads(processor.to_json_string())
    spare = {"image_processor_type": f"{family}ImageProcessor", **values}
    for settings_ in (saved, spare):
        ours = normalised(parse(settings_), image)
        assert ours.shape == expected.shape
        # Pixels are those of the processor; only the order of the float operations differs.
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def test_every_family_is_compared():
    compared = {family for _, family, _ in CASES}
    assert compared == _FAMILIES.keys() - {"", "DINOv3ViT"}  # this one needs torchvision


def test_old_files_with_plain_numbers_are_understood():
    old_resnet = {
        "feature_extractor_type": "ConvNextFeatureExtractor",
        "size": 224,
        "crop_pct": 0.875,
        "resample": 3,
    }
    assert (parse(old_resnet).size, parse(old_resnet).resize, parse(old_resnet).keep_aspect) == (
        224,
        256,
        True,
    )
    old_vit = {"feature_extractor_type": "ViTFeatureExtractor", "size": 224}
    assert (parse(old_vit).size, parse(old_vit).keep_aspect) == (224, False)


def test_dinov3_is_read_without_its_processor(tmp_path):
    values = {"image_processor_type": "DINOv3ViTImageProcessorFast", "size": {"height": 256, "width": 256}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    found = read_preprocessing(tmp_path)
    assert (found.size, found.resample) == (256, 2)
    np.testing.assert_allclose(np.divide(found.mean, 255), [0.485, 0.456, 0.406])


def test_processor_config_of_a_dual_model_is_read(tmp_path):
    values = {
        "image_processor": {
            "image_processor_type": "SiglipImageProcessor",
            "size": {"height": 96, "width": 96},
        }
    }
    (tmp_path / "processor_config.json").write_text(json.dumps(values))
    assert read_preprocessing(tmp_path).size == 96


@settings(max_examples=15, deadline=None)
@given(
    width=st.integers(20, 200), height=st.integers(20, 200), crop=st.integers(8, 64), edge=st.integers(8, 80)
)
def test_views_are_squares_and_mirrors(width, height, crop, edge):
    values = {"size": {"shortest_edge": edge}, "do_center_crop": True, "crop_size": crop}
    preprocessing, image = parse(values), picture(1, width, height)
    whole = preprocessing.prepare(image, "whole")
    np.testing.assert_array_equal(whole, image.resize((crop, crop), Image.Resampling.BILINEAR))
    for view in ("whole", "centre"):
        plain = preprocessing.prepare(image, view)
        assert plain.shape == (crop, crop, 3)
        assert plain.dtype == np.uint8
        np.testing.assert_array_equal(preprocessing.prepare(image, f"{view}-mirrored"), plain[:, ::-1])


def test_a_picture_of_the_right_size_is_not_resampled():
    image = picture(2, 64, 64)
    preprocessing = parse({"image_processor_type": "ViTImageProcessor", "size": 64, "resample": 3})
    for view in ("whole", "centre"):
        np.testing.assert_array_equal(preprocessing.prepare(image, view), np.asarray(image))


def test_another_size_keeps_the_proportion_of_the_crop():
    preprocessing = parse({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 224})
    larger = preprocessing.resized(448)
    assert (larger.size, larger.resize) == (448, 512)
    assert larger.mean == preprocessing.mean


def test_dict_round_trip():
    preprocessing = parse({"image_processor_type": "CLIPImageProcessor"})
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


def test_without_a_file_imagenet_is_taken_and_said(tmp_path, capsys):
    preprocessing = read_preprocessing(tmp_path)
    assert (preprocessing.size, preprocessing.resize, preprocessing.resample) == (224, 256, 2)
    np.testing.assert_allclose(np.divide(preprocessing.std, 255), [0.229, 0.224, 0.225])
    assert "no preprocessor_config.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"size": {"height": 32, "width": 64}}', "must be a square"),
        ('{"size": {"longest_edge": 800}}', "must be a square"),
        ('{"size": {"shortest_edge": 40, "longest_edge": 60}}', "its size must be a square"),
        ('{"size": {"shortest_edge": 40}}', "its size must be a square where nothing is cropped"),
        (
            '{"image_processor_type": "SegformerImageProcessor", "size": {"shortest_edge": 40},'
            ' "do_center_crop": true, "crop_size": 32}',
            "its size must be a square where nothing is cropped",
        ),
        (
            '{"image_processor_type": "ConvNextImageProcessor", "size": {"height": 40, "width": 40}}',
            "its size must be a shortest_edge",
        ),
        ('{"size": 40, "do_center_crop": true}', "its crop_size must be a square, got None"),
        ('{"size": 40, "do_resize": false}', "its do_resize must be true, to make squares of one size"),
        ('{"size": 40, "keep_aspect_ratio": true}', "its keep_aspect_ratio must be false"),
        ('{"size": 40, "resample": 6}', "its resample must be a number from 0 to 5"),
        ('{"size": 0}', "must be above 0"),
        ('{"size": 40, "image_std": 0}', "must be above 0"),
        ('{"size": 40, "image_mean": [NaN, 0, 0]}', "its mean a number"),
        ('{"size": 32, "image_mean": [0.5, 0.5]}', "3 channels, got 2"),
        ('{"size": 32, "resample": "cubic"}', "cannot be used"),
        (
            '{"image_processor_type": "NewImageProcessorFast"}',
            "must be one of Beit, .* got NewImageProcessorFast",
        ),
        ("[1, 2]", "must be a JSON object, got list"),
        ("{", "not valid JSON"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path, text, match):
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(PairJEPAError, match=match):
        read_preprocessing(tmp_path)
