"""Which backbone a configuration names: built-in, random, hub; and what is said when there is none."""

import re

import pytest
import torch
import transformers as hf

from pairjepa.backbones.encoders import load_backbones, load_image_backbone, load_text_backbone
from pairjepa.backbones.location import as_pair, say_towers
from pairjepa.config.settings import ModelConfig, RunConfig
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.files import write_json

from .conftest import CAPTIONS, IMAGE_CONFIGS, save_model


def test_tiny_resnet():
    backbone = load_image_backbone(ModelConfig(image="tiny-resnet"), seed=0)
    assert (backbone.preprocessing.size, backbone.stages, backbone.width) == (
        64,
        (1, 2, 3),
        16 + 32 + 64 + 128,
    )
    assert backbone.digest == load_image_backbone(ModelConfig(image="tiny-resnet"), seed=0).digest
    assert backbone.digest != load_image_backbone(ModelConfig(image="tiny-resnet"), seed=1).digest


def test_tiny_bert_takes_its_words_from_the_captions():
    backbone = load_text_backbone(ModelConfig(text="tiny-bert"), 0, CAPTIONS)
    tokens = backbone.tokenizer.convert_ids_to_tokens(backbone.tokenize(["A red, ZEBRA runs."])[0])
    assert tokens == ["[CLS]", "a", "red", "[UNK]", "[UNK]", "runs", ".", "[SEP]"]
    assert backbone.tokenizer.mask_token_id is not None
    assert backbone.digest == load_text_backbone(ModelConfig(text="tiny-bert"), 0, list(CAPTIONS)).digest
    assert backbone.digest != load_text_backbone(ModelConfig(text="tiny-bert"), 0, CAPTIONS[:2]).digest


def test_tiny_bert_needs_captions():
    with pytest.raises(UsageError, match="tiny-bert must be given captions"):
        load_text_backbone(ModelConfig(text="tiny-bert"), 0)


def test_random_weights_come_from_the_seed_and_leave_the_global_state(image_folder, text_folder):
    image = ModelConfig(image=str(image_folder("vit")), image_weights="random")
    text = ModelConfig(text=str(text_folder("bert")), text_weights="random")
    before = torch.random.get_rng_state()
    first = [load_image_backbone(image, 0).digest, load_text_backbone(text, 0).digest]
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(123)
    assert [load_image_backbone(image, 0).digest, load_text_backbone(text, 0).digest] == first
    assert load_image_backbone(ModelConfig(image=image.image), 0).digest != first[0]


def test_random_weights_need_no_weights_in_the_folder(tmp_path):
    IMAGE_CONFIGS["vit"]().save_pretrained(tmp_path)
    write_json(tmp_path / "preprocessor_config.json", {"size": 64})
    assert load_image_backbone(ModelConfig(image=str(tmp_path), image_weights="random"), 0).width == 4 * 32


def test_float16_folders_are_loaded_as_float32(tmp_path):
    with torch.random.fork_rng():
        hf.ViTModel(IMAGE_CONFIGS["vit"]()).half().save_pretrained(tmp_path)
    backbone = load_image_backbone(ModelConfig(image=str(tmp_path)), 0)
    assert {p.dtype for p in backbone.parameters()} == {torch.float32}


def test_loading_says_nothing(image_folder, text_folder, capfd):
    """No bar, no load report: a dual folder holds weights that its tower does not want."""
    load_image_backbone(ModelConfig(image=str(image_folder("clip"))), 0)
    load_text_backbone(ModelConfig(text=str(text_folder("bert"))), 0)
    assert capfd.readouterr() == ("", "")


def test_the_text_tower_of_a_dual_folder(image_folder, text_folder, capsys, monkeypatch):
    folder = str(image_folder("clip"))
    hf.AutoTokenizer.from_pretrained(text_folder("bert")).save_pretrained(folder)
    assert load_text_backbone(ModelConfig(text=folder), 0).width == 2 * 32
    one = RunConfig(model=ModelConfig(image="tiny-resnet", text=folder))
    assert as_pair(one) == one
    load_backbones(one, CAPTIONS)
    assert (
        capsys.readouterr().err
        == "model.text is the text tower of a pretrained pair, before its projection.\n"
    )
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: f"{folder}/config.json")
    say_towers(ModelConfig(image="of/hub", text="tiny-bert"))
    assert (
        capsys.readouterr().err
        == "model.image is the image tower of a pretrained pair, before its projection.\n"
    )
    both = as_pair(RunConfig(model=ModelConfig(image=folder, text=folder))).model
    assert (both.image, both.text, both.pair) == (None, None, folder)
    assert "taken as --model.pair" in capsys.readouterr().err


def test_a_tower_with_a_pooling_of_its_own_is_refused(text_folder, tmp_path):
    hf.SiglipConfig(text_config={"hidden_size": 16}, vision_config={"hidden_size": 16}).save_pretrained(
        tmp_path
    )
    with pytest.raises(PairJEPAError, match=r"text tower \(siglip_text_model\).*as --model\.pair"):
        load_text_backbone(ModelConfig(text=str(tmp_path)), 0)


@pytest.mark.parametrize(("side", "tiny"), [("image", "tiny-resnet"), ("text", "tiny-bert")])
def test_a_backbone_must_be_named(side, tiny):
    load = load_image_backbone if side == "image" else load_text_backbone
    with pytest.raises(UsageError, match=f"model.{side} must name the {side} backbone, got nothing.*{tiny}"):
        load(ModelConfig(), 0)


def test_a_folder_that_is_not_there_shows_its_neighbours(tmp_path):
    (tmp_path / "mobilenet").mkdir()
    with pytest.raises(PairJEPAError, match=r"No such folder in .* Did you mean 'mobilenet'\?"):
        load_image_backbone(ModelConfig(image=str(tmp_path / "mobilnet")), 0)
    with pytest.raises(PairJEPAError, match=f"{re.escape(str(tmp_path))} is the last part of it that is"):
        load_image_backbone(ModelConfig(image=str(tmp_path / "a" / "b")), 0)


def test_a_relative_folder_is_not_looked_for_on_the_hub(tmp_path, monkeypatch):
    (tmp_path / "models" / "vit").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PairJEPAError, match=r"got 'models/vot'.*Did you mean 'vit'\?"):
        load_image_backbone(ModelConfig(image="models/vot"), 0)


def test_a_folder_without_a_model_shows_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(PairJEPAError, match=r"with a config.json, got .* holds notes.txt\. Give the folder"):
        load_image_backbone(ModelConfig(image=str(tmp_path)), 0)
    (tmp_path / "vit").mkdir()
    (tmp_path / "vit" / "config.json").touch()
    with pytest.raises(PairJEPAError, match=r"Did you mean .*vit"):
        load_image_backbone(ModelConfig(image=str(tmp_path)), 0)
    with pytest.raises(PairJEPAError, match=r"got the file .* Give its folder"):
        load_image_backbone(ModelConfig(image=str(tmp_path / "notes.txt")), 0)


def test_models_of_the_other_side_are_refused(image_folder, text_folder):
    with pytest.raises(
        PairJEPAError, match=r"model.image must be an image model.*is a text model \(bert\).*exchanged"
    ):
        load_image_backbone(ModelConfig(image=str(text_folder("bert"))), 0)
    with pytest.raises(PairJEPAError, match=r"model.text must be a text model.*is an image model \(vit\)"):
        load_text_backbone(ModelConfig(text=str(image_folder("vit"))), 0)


def test_an_encoder_with_a_decoder_is_refused(tmp_path):
    hf.BartConfig().save_pretrained(tmp_path)
    with pytest.raises(PairJEPAError, match=r"model.text must be an encoder.*\(bart\)"):
        load_text_backbone(ModelConfig(text=str(tmp_path)), 0)


def test_a_decoder_is_refused(tmp_path):
    hf.GPT2Config(n_layer=1).save_pretrained(tmp_path)
    with pytest.raises(PairJEPAError, match=r"model.text must be an encoder.* a decoder \(gpt2\)"):
        load_text_backbone(ModelConfig(text=str(tmp_path)), 0)


@pytest.mark.parametrize("kind", [hf.T5ForConditionalGeneration, hf.T5EncoderModel])
def test_the_encoder_of_a_t5_is_taken_with_or_without_its_decoder(kind, text_folder, tmp_path):
    config = hf.T5Config(vocab_size=60, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    whole = kind(config).eval()
    whole.save_pretrained(tmp_path)
    hf.AutoTokenizer.from_pretrained(text_folder("bert")).save_pretrained(tmp_path)
    text = load_text_backbone(ModelConfig(text=str(tmp_path), text_layers=(-1,)), 0)
    ids, mask = text.collate(text.tokenize(CAPTIONS))
    with torch.no_grad():
        states = whole.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        expected = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        torch.testing.assert_close(text(ids, mask), expected)


def test_missing_weights_are_not_made_up(tmp_path):
    save_model(IMAGE_CONFIGS["vit"](), tmp_path)
    deeper = IMAGE_CONFIGS["vit"]()
    deeper.num_hidden_layers = 5
    deeper.save_pretrained(tmp_path)
    with pytest.raises(PairJEPAError, match=r"all weights of its model.* lacks 16 of them"):
        load_image_backbone(ModelConfig(image=str(tmp_path)), 0)


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"config.json": "{}"}, "cannot be loaded by Transformers"),
        ({"config.json": "[]"}, r"config\.json is no table"),
        ({"config.json": '{"model_type": "nosuch"}'}, "cannot be loaded by Transformers"),
        ({"config.json": '{"model_type": "vit"}'}, "cannot be loaded by Transformers"),
        (
            {"config.json": '{"model_type": "vit"}', "model.safetensors": "no"},
            "cannot be loaded by Transformers",
        ),
    ],
)
def test_damaged_folders(tmp_path, files, match):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(PairJEPAError, match=match):
        load_image_backbone(ModelConfig(image=str(tmp_path)), 0)


def test_a_text_folder_without_tokenizer(tmp_path):
    save_model(
        hf.BertConfig(vocab_size=40, hidden_size=32, num_attention_heads=2, num_hidden_layers=1), tmp_path
    )
    with pytest.raises(PairJEPAError, match=r"model.text must be a folder with its tokenizer"):
        load_text_backbone(ModelConfig(text=str(tmp_path)), 0)


@pytest.mark.parametrize(("file", "load"), [("image", load_image_backbone), ("text", load_text_backbone)])
def test_damaged_settings_of_a_run(tmp_path, file, load):
    with pytest.raises(PairJEPAError, match=f"The record .*pairjepa_{file}.json is not there"):
        load(ModelConfig(), 0, folder=tmp_path)
    write_json(tmp_path / f"pairjepa_{file}.json", {"stages": 3})
    with pytest.raises(PairJEPAError, match=r"must hold|checksums"):
        load(ModelConfig(), 0, folder=tmp_path)


class Hub:
    """In place of `huggingface_hub`: what is in the local cache, and what comes when it is asked for."""

    def __init__(self, answer, cached=False):
        self.answer, self.cached, self.calls = answer, cached, []

    def try_to_load_from_cache(self, name, file, revision):
        return f"/cache/{file}" if self.cached else None

    def snapshot_download(self, name, *, revision, allow_patterns, ignore_patterns):
        self.calls.append((name, revision, allow_patterns[-1]))
        if isinstance(self.answer, Exception):
            raise self.answer
        return str(self.answer)


@pytest.fixture
def hub(monkeypatch):
    def put(answer, **settings) -> Hub:
        stand_in = Hub(answer, **settings)
        for name in ("try_to_load_from_cache", "snapshot_download"):
            monkeypatch.setattr(f"huggingface_hub.{name}", getattr(stand_in, name))
        return stand_in

    return put


@pytest.mark.parametrize("cached", [True, False])
def test_hub_ids_are_fetched_with_their_revision(hub, image_folder, capsys, cached):
    there = hub(image_folder("vit"), cached=cached)
    config = ModelConfig(image="someone/vit", image_revision="v1")
    local = load_image_backbone(ModelConfig(image=str(image_folder("vit"))), 0)
    assert load_image_backbone(config, 0).digest == local.digest
    assert there.calls == [("someone/vit", "v1", "*.safetensors")]
    assert ("fetching someone/vit" in capsys.readouterr().err) is not cached


def test_old_weights_are_fetched_where_there_are_no_others(hub, image_folder, tmp_path):
    """Read with weights_only: tensors, never code."""
    model = hf.AutoModel.from_pretrained(image_folder("vit"))
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    there = hub(tmp_path)
    load_image_backbone(ModelConfig(image="someone/vit"), 0)
    assert [pattern for *_, pattern in there.calls] == ["*.safetensors", "pytorch_model*.bin"]


def hub_error(name: str) -> Exception:
    from huggingface_hub import errors

    kind = getattr(errors, name)
    return kind.__new__(kind)  # the constructor wants an answer of the HTTP library that is used underneath


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (
            "LocalEntryNotFoundError",
            "not in the local Hugging Face cache, .* cannot be reached .*hf download",
        ),
        (ConnectionError("no route"), "the hub cannot be reached"),
        ("RepositoryNotFoundError", "neither a folder here nor a repository that the hub shows you"),
        ("GatedRepoError", "neither a folder here nor a repository that the hub shows you"),
        ("RevisionNotFoundError", "model.image_revision must be a commit, tag or branch of .* got 'v9'"),
    ],
)
def test_hub_ids_that_cannot_be_had(hub, answer, match):
    hub(hub_error(answer) if isinstance(answer, str) else answer)
    with pytest.raises(PairJEPAError, match=match):
        load_image_backbone(ModelConfig(image="someone/vit", image_revision="v9"), 0)


def test_offline_mode_is_one_sentence():
    """The real client, with HF_HUB_OFFLINE set for all tests."""
    advice = "hf download someone/no-such-model-anywhere .*Put that folder here, and name it: --model.image no-such"
    with pytest.raises(PairJEPAError, match=f"the hub cannot be reached.*{advice}"):
        load_image_backbone(ModelConfig(image="someone/no-such-model-anywhere"), 0)
