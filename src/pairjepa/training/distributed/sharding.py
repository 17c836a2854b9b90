"""Tuned backbones that lie in pieces on all processes, as Accelerate's own configuration for FSDP asks for."""

import importlib.util
import os
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from pairjepa.util.errors import PairJEPAError, missing_extra

NEWEST = "2"  # FSDP2 keeps parameters apart, so that each may have its own rate and decay


def sharding_wanted() -> bool:
    """Whether `accelerate launch` was given a configuration with FSDP."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def shard(backbone: nn.Module) -> None:
    """Shard a backbone, by the wrapping, offload and precision of the configuration.

    Gradients of its parameters come out as means over the processes.

    Raises:
        PairJEPAError: the configuration is for the first form of FSDP, or Accelerate is not installed.
    """
    version = os.environ.get("FSDP_VERSION", "1")
    if version != NEWEST:
        raise PairJEPAError(
            f"fsdp_version must be {NEWEST}, got {version}. "
            f"Set fsdp_version: {NEWEST} in fsdp_config of Accelerate's configuration."
        )
    if importlib.util.find_spec("accelerate") is None:
        raise missing_extra("accelerate", "track")
    from accelerate import FullyShardedDataParallelPlugin
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    plugin = FullyShardedDataParallelPlugin()  # from the environment that the launcher has set
    # channels last, in which convolutions lie, FSDP refuses
    model: Any = backbone.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    plugin.set_auto_wrap_policy(model)
    policy: dict[str, Any] = getattr(plugin.auto_wrap_policy, "keywords", {})
    classes, least = tuple(policy.get("transformer_layer_cls", ())), policy.get("min_num_params")
    settings = {
        "mesh": init_device_mesh(next(model.parameters()).device.type, (dist.get_world_size(),)),
        "mp_policy": plugin.mixed_precision_policy or MixedPrecisionPolicy(),
        "offload_policy": plugin.cpu_offload,
    }
    for part in [*model.modules()][:0:-1]:  # inner ones before those that hold them
        large = least and sum(parameter.numel() for parameter in part.parameters()) > least
        if isinstance(part, classes) or large:
            fully_shard(part, reshard_after_forward=plugin.reshard_after_forward, **settings)
    fully_shard(
        backbone, **settings
    )  # not the model: Transformers knows what to record by the name of its class
