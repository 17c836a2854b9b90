"""Memory that is kept, and given back, by the process that asks for it."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import re
import numpy as np
from pairjepa.util.memory import give_back_freed_memory, keep_freed_memory

def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024

keep_freed_memory()
before = anonymous()
arrays = [np.ones(50_000) for _ in range(500)]  # 200 MB
taken = anonymous() - before
del arrays
kept = anonymous() - before
give_back_freed_memory()
print(taken, kept, anonymous() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told anything")
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    taken, kept, left = map(int, done.stdout.split())
    assert taken > 180
    assert kept > 180
    assert left < 40
