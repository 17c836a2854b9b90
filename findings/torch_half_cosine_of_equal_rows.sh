#!/usr/bin/env bash
# torch 2.13.0: in float16 `cosine_similarity` of a row and itself is 0 for long rows and NaN for a row of zeros.
#
# Guessed: `eps` keeps the division safe in every dtype: a row of zeros stays 0 in `normalize` and has cosine 0; the
# length of a row is no matter, as only its direction is asked for.
# Seen: `eps` (1e-12 and 1e-8) is 0 in float16, and 0 / 0 is NaN; in float32 and bfloat16 it is 0 as meant. A length
# beyond 65,504 is infinite in float16, though each number of the row is far below: `normalize` gives zeros, and the
# cosine of a row with itself is 0. Nothing is said. The documentation has eps as a value to avoid division by zero.
# Where it matters: embeddings computed in float16: padded positions, masked patches, activations before the last norm.
# Way round: `.float()` first; for zeros alone, `eps=1e-4`.
. "$(dirname "$0")/_setup.sh"
install torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from torch.nn.functional import cosine_similarity, normalize

seen = {}
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    for name, value in (("zeros", 0.0), ("a row of length 83,000", 3000.0)):
        row = torch.full((1, 768), value, dtype=dtype)
        length = normalize(row).float().norm().item()
        cosine = cosine_similarity(row, row).item()
        seen[dtype, name] = round(length, 1), round(cosine, 1)
        print(f"{dtype}, {name}: length after normalize {length:.2f}, cosine with itself {cosine:.2f}")
zeros, long = "zeros", "a row of length 83,000"
as_described = (
    all(seen[dtype, zeros] == (0, 0) and seen[dtype, long] == (1, 1) for dtype in (torch.float32, torch.bfloat16))
    and all(value != value for value in seen[torch.float16, zeros])
    and seen[torch.float16, long] == (0, 0)
)
sys.exit(0 if as_described else "changed: this is no longer what torch does")
PY
