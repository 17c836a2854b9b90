"""A run as a folder of sentence-transformers, of its stock modules alone: loading it runs no code of anyone's.

They compose to one view of a ViT, its pooled output or class token, to the last layer of a text backbone, and to both
towers of a pretrained pair. For the rest (CNNs with lower stages, mirrored views, middle layers) there is `--to onnx`.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pairjepa.apps.export.folder import check_equal, check_installed, new_folder, processor
from pairjepa.backbones.loading import quiet
from pairjepa.backbones.pair import PairImage, PairText
from pairjepa.embedder.embedder import Embedder
from pairjepa.model.heads import Adapter, Gated, Residual, Standardizer
from pairjepa.util.checksums import seal
from pairjepa.util.errors import UsageError
from pairjepa.util.files import temporary_folder

if TYPE_CHECKING:
    from sentence_transformers.base.modules import Module

_TO_BE_EXPORTED = "to be exported to sentence-transformers. Share the run with --to onnx or --to hub."


def export_sentence_transformers(embedder: Embedder, folder: str | Path) -> None:
    """Write a run to a new or empty folder that `SentenceTransformer(folder)` loads.

    `model.encode` then takes captions and upright RGB pictures, one kind at a time, and gives the vectors of
    `Embedder` to 1e-5. Image and words together (`Embedder.predict`) have no counterpart there.

    Raises:
        UsageError: a setting of the run cannot be said in stock modules; the message names it.
        PairJEPAError: the folder holds something, the package is missing, or the result is not what the run computes.
    """
    check_installed("sentence-transformers")
    check_settings(embedder)
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Router

    with (
        new_folder(Path(folder), "sentence-transformers", embedder.weights) as temporary,
        temporary_folder() as scratch,
        quiet(),
        torch.no_grad(),
    ):
        router = Router(
            {
                "text": _text_modules(embedder, scratch),
                "image": _image_modules(embedder, scratch),
            },
            route_mappings={(None, "text"): "text", (None, "image"): "image"},
        )
        model = SentenceTransformer(modules=[router], device="cpu")
        model.save_pretrained(str(temporary), create_model_card=False)
        loaded = SentenceTransformer(str(temporary), device="cpu", local_files_only=True)
        check_equal(embedder, loaded.encode, loaded.encode)
        seal(temporary)


def check_settings(embedder: Embedder) -> None:
    """Raise `UsageError` for what stock modules do not compose to."""
    model, views = embedder.config.model, embedder.config.model.image_views
    wrong = None
    if model.predictor.kind == "transformer":
        wrong = "model.predictor.kind must not be transformer"
    elif model.predictor.kind == "identity" and embedder.sees_captions:
        wrong = "model.predictor.kind must not be identity where context.caption is on"
    elif len(views) > 1 or views[0].endswith("mirrored"):
        wrong = f"model.image_views must be whole or centre alone, got {', '.join(views)},"
    elif isinstance(model.image, tuple):
        wrong = f"model.image must name one backbone, got {len(model.image)},"
    elif embedder.image.stages:
        wrong = f"model.image_stages must be -1, got {', '.join(map(str, embedder.image.stages))},"
    elif embedder.text.layers:
        wrong = f"model.text_layers must be -1, got {', '.join(map(str, embedder.text.layers))},"
    if wrong:
        raise UsageError(f"{wrong} {_TO_BE_EXPORTED}")


def _text_modules(embedder: Embedder, scratch: Path) -> list["Module"]:
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

    text, folder, joint = embedder.text, scratch / "text", embedder.joint
    model: Any = text.model
    model.save_pretrained(folder)
    tokenizer = copy.deepcopy(text.tokenizer)
    tokenizer.model_max_length = text.max_tokens
    tokenizer.save_pretrained(folder)
    if isinstance(text, PairText):
        processor(embedder).save_pretrained(folder)  # unused, but a pair's model is loaded with both
        modules = [_tower(folder, "text", text.padding)]
    else:
        mode = {"last": "lasttoken"}.get(text.pooling, text.pooling)
        pooling = Pooling(model.config.hidden_size, mode)
        modules = [_transformer(folder, "text", "last_hidden_state"), pooling]
        modules += [Normalize()] if text.normalise else []
    return [*modules, *dense(joint.text_standardizer, [joint.text_projection]), Normalize()]


def _image_modules(embedder: Embedder, scratch: Path) -> list["Module"]:
    from sentence_transformers.sentence_transformer.modules import Normalize

    image, folder, joint = embedder.image, scratch / "image", embedder.joint
    size = image.preprocessing.size
    model: Any = image.model
    model.save_pretrained(folder)
    processor(embedder).save_pretrained(folder)
    if isinstance(image, PairImage):
        embedder.text.tokenizer.save_pretrained(folder)
        modules = [_tower(folder, "image")]
    else:
        modules = _pooled(model, size, folder)
    heads = [joint.image_projection, joint.predictor]
    return [*modules, *dense(joint.image_standardizer, heads), Normalize()]


def _pooled(model: Any, size: int, folder: Path) -> list["Module"]:
    """Pixels → the pooled output of a single image encoder, or its class token."""
    from sentence_transformers.sentence_transformer.modules import Pooling

    try:
        found = model(pixel_values=torch.zeros(1, 3, size, size, device=model.device))
    except ValueError:
        raise UsageError(f"model.image_size must be the image backbone's own {_TO_BE_EXPORTED}") from None
    pooled, last = getattr(found, "pooler_output", None), found.last_hidden_state
    if pooled is not None and pooled.ndim == 2:
        return [_transformer(folder, "image", "pooler_output", "sentence_embedding")]
    if pooled is None and last.ndim == 3:
        tokens = _transformer(folder, "image", "last_hidden_state")
        # checked by the comparison: some backbones of patches have no class token
        return [tokens, Pooling(last.shape[2], "cls")]
    raise UsageError(
        f"model.image must be a backbone of patches, such as a ViT, got {type(model).__name__}, {_TO_BE_EXPORTED}"
    )


def _tower(folder: Path, modality: str, padding: dict[str, Any] | None = None) -> "Module":
    """One tower of the pretrained pair in `folder`, with its projection."""
    method = f"get_{modality}_features"
    return _transformer(folder, modality, "pooler_output", "sentence_embedding", method, padding)


def _transformer(
    folder: Path,
    modality: str,
    output: str,
    key: str = "token_embeddings",
    method: str = "forward",
    processing: dict[str, Any] | None = None,
) -> "Module":
    """The model in `folder`; one of its outputs goes under `key`."""
    from sentence_transformers.sentence_transformer.modules import Transformer

    way: Any = {modality: {"method": method, "method_output_name": output}}
    called: Any = {modality: processing} if processing else None
    return Transformer(str(folder), modality_config=way, module_output_name=key, processing_kwargs=called)


def dense(standardizer: Standardizer, heads: Sequence[nn.Module]) -> list["Module"]:
    """A standardiser and the heads after it, a `Dense` a layer; BatchNorm, which is fixed by now, is one too.

    A head that takes more than it is given (the predictor of a masked run, whose caption is hidden) takes zeros.
    """
    from sentence_transformers.sentence_transformer.modules import Normalize

    width = len(standardizer.mean)
    modules = [_dense(torch.diag(1 / standardizer.scale), -standardizer.mean / standardizer.scale)]
    for head in heads:
        head = head.alone or head.image if isinstance(head, Gated) else head
        if isinstance(head, Residual):
            modules += _beside(head.mlp, head.linear.weight[:, :width], head.linear.bias)
            width = head.linear.out_features
            continue
        if isinstance(head, Adapter):
            scale = torch.eye(width) * width**0.5
            grown = _dense(scale, torch.zeros(width))
            start = torch.eye(width) if head.linear is None else head.linear
            beside = _beside(head.mlp, start, torch.zeros(width), float(head.scale))
            modules += [Normalize(), grown, *beside]
            continue
        for layer in head.children():
            if isinstance(layer, nn.Linear):
                modules.append(_dense(layer.weight[:, :width], layer.bias))
                width = layer.out_features
            elif isinstance(layer, nn.BatchNorm1d):
                mean, variance = layer.running_mean, layer.running_var
                assert mean is not None
                assert variance is not None
                gain = layer.weight / (variance + layer.eps).sqrt()
                modules.append(_dense(torch.diag(gain), layer.bias - mean * gain, nn.ReLU()))
    return modules


def _beside(mlp: nn.Module, weight: Tensor, bias: Tensor, scale: float = 1.0) -> list["Module"]:
    """The hidden layer of an MLP and a linear map side by side; then `scale` times the last layer plus the map."""
    hidden, last = (layer for layer in mlp.children() if isinstance(layer, nn.Linear))
    (dim, width), units = weight.shape, hidden.out_features
    unused = int(units + dim == width)  # the library takes a square skip for the identity
    add = torch.cat([scale * last.weight.cpu(), torch.eye(dim)], dim=1)
    return [
        _dense(
            F.pad(hidden.weight[:, :width], (0, 0, 0, dim + unused)),
            F.pad(hidden.bias, (0, dim + unused)),
            nn.ReLU(),
            F.pad(weight, (0, 0, units, unused)),
        ),
        _dense(F.pad(add, (0, unused)), scale * last.bias + bias.to(last.bias.device)),
    ]


def _dense(
    weight: Tensor, bias: Tensor, activation: nn.Module | None = None, skip: Tensor | None = None
) -> "Module":
    """x → activation(W x + b) + S x."""
    from sentence_transformers.sentence_transformer.modules import Dense

    out, width = weight.shape
    module = Dense(
        width,
        out,
        activation_function=activation or nn.Identity(),
        init_weight=weight.detach().cpu().clone(),
        init_bias=bias.detach().cpu().clone(),
        use_residual=skip is not None,
    )
    if skip is not None:
        module.residual.weight.data.copy_(skip)
    return module
