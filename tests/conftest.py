"""What every test stands on: one thread, no network, no cache but the session's own."""

import os
from collections.abc import Iterator

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # read by torch and NumPy when they are first imported


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAIRJEPA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
