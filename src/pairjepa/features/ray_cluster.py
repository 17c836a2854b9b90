"""The Ray cluster that computes: found, checked before any work, and left again.

Without RAY_ADDRESS it is one of this machine's cores, which lives as long as it computes.
"""

import logging
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import metadata
from typing import Any

from pairjepa.util.errors import PairJEPAError, first_line

PACKAGES = ("pairjepa", "torch", "transformers", "tokenizers", "numpy", "pillow", "pyarrow")
"""What the features and their way depend on: of the same version on all machines."""

REACHED_WITHIN, ANSWERED_WITHIN = 10.0, 30.0
"""Seconds until the head takes a connection, and until it says that it is Ray."""

VERSIONS_WITHIN = 120.0
"""Seconds until every machine has said its versions: it may have to start a worker first."""


@contextmanager
def cluster() -> Iterator[tuple[Any, bool]]:
    """Ray, connected, and whether the cluster is another's: it may then be of other machines.

    Raises:
        PairJEPAError: it cannot be reached, or its machines have other versions.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read at import
    import ray

    connected = ray.is_initialized()
    address = os.environ.get("RAY_ADDRESS") or "local"
    elsewhere = connected or address != "local"
    with redirect_stdout(sys.stderr):  # where Ray prints what becomes of workers
        try:
            if not connected:
                _connect(ray, address)
            if elsewhere:
                _check_versions(ray)
            yield ray, elsewhere
        finally:
            if not connected:
                ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address == "local":
        quiet["include_dashboard"] = False
    else:
        _reach(address)
    try:
        ray.init(address, **quiet)
    except Exception as error:  # Ray raises what comes from any of its layers
        what = (
            "Ray cannot be started" if address == "local" else f"The Ray cluster {address} cannot be joined"
        )
        raise PairJEPAError(
            f"{what}: {first_line(error)}. RAY_ADDRESS names the cluster; without it, the cores of this machine are "
            "used, and without --engine ray, no Ray."
        ) from None


def _reach(address: str) -> None:
    """Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if address == "auto":
        return
    if not host or "/" in host or not port.isdigit():
        raise PairJEPAError(
            f"RAY_ADDRESS must be HOST:PORT of a cluster that this machine belongs to, or auto, got {address!r}. "
            "Give what `ray start --head` prints, such as 10.0.0.1:6379."
        )
    status = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
    try:
        socket.create_connection((host, int(port)), REACHED_WITHIN).close()
        # Where it is not Ray that listens, this waits, as ray.init would, but can be stopped.
        subprocess.run(status, capture_output=True, timeout=ANSWERED_WITHIN)
    except subprocess.TimeoutExpired:
        raise PairJEPAError(
            f"RAY_ADDRESS must be the port of a Ray cluster's head, got {address}, which is another's: it takes a "
            "connection and says nothing of Ray. The head prints its own, 6379 unless it was told another."
        ) from None
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or first_line(error)
        raise PairJEPAError(
            f"RAY_ADDRESS must be a cluster that can be reached, got {address}: {why}. Start it with "
            "`ray start --head`, or unset RAY_ADDRESS to use the cores of this machine."
        ) from None


def _check_versions(ray: Any) -> None:
    """Raise if a machine has other versions than this one: it would compute other features, or fail on the way."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    probe = ray.remote(_versions())
    names, asked = {}, []
    for node in ray.nodes():
        if node["Alive"]:
            here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            reference = probe.options(num_cpus=0, scheduling_strategy=here).remote(PACKAGES)
            names[reference] = node["NodeManagerHostname"]
            asked.append(reference)
    answered, silent = ray.wait(asked, num_returns=len(asked), timeout=VERSIONS_WITHIN)
    if silent:
        raise PairJEPAError(
            f"All machines of the Ray cluster must answer, got nothing from {names[silent[0]]} in "
            f"{VERSIONS_WITHIN:.0f} s. Look at `ray status`, or take that machine out."
        )
    wanted = _versions()(PACKAGES)
    for reference in answered:
        try:
            found = ray.get(reference)
        except ray.exceptions.RayError as error:
            raise PairJEPAError(
                f"All machines of the Ray cluster must answer, got from {names[reference]}: {reason(error)}. "
                "Look at `ray status`, or take that machine out."
            ) from None
        for package, version in wanted.items():
            if found[package] != version:
                raise PairJEPAError(
                    f"All machines of the Ray cluster must have {package} {version}, as this one has, got "
                    f"{found[package] or 'none'} on {names[reference]}. Install the same versions there."
                )


def _versions() -> Callable[[Sequence[str]], dict[str, str]]:
    """A function that goes out as its code: on another machine, this module may not be what it is here."""
    return lambda packages: {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        **{
            name: next((found.version for found in metadata.distributions(name=name)), "")
            for name in packages
        },
    }


def reason(error: Any) -> str:
    """What happened, in a line: of an error in a worker, what was raised there."""
    lines = [line for line in str(error).splitlines() if line and not line[0].isspace()]
    raised = [line for line in lines if not line.startswith(("ray", "\x1b", "The above"))]
    return first_line(Exception((raised or lines or [type(error).__name__])[0]))
