#!/usr/bin/env bash
# safetensors 0.8.0: the same tensors with the same metadata give another file each time.
#
# Guessed: equal tensors and equal metadata give equal bytes, as they do without metadata: a checkpoint can be known by
# its checksum.
# Seen: with two or more metadata entries their order in the header is drawn anew for each file, in one process as well:
# six entries, 20 saves, about 20 checksums. The length is the same, and what is read back is equal.
# Where it matters: "has the model changed?" by SHA-256, content-addressed caches and deduplicating stores (a new upload
# of an unchanged model), signed or reproducible releases, tests that compare files.
# Way round: one entry that holds everything, as JSON with sorted keys; or a checksum of the tensors.
. "$(dirname "$0")/_setup.sh"
install safetensors==0.8.0 numpy==2.4.6
run <<'PY'
import hashlib, sys
import numpy as np
from safetensors.numpy import save

tensors = {"image": np.zeros(4, np.float32), "text": np.ones(4, np.float32)}
different, lengths = {}, set()
for count in (0, 1, 2, 6):
    metadata = {f"key{i}": "value" for i in range(count)}
    files = [save(tensors, metadata=metadata or None) for _ in range(20)]
    different[count] = len({hashlib.sha256(file).hexdigest() for file in files})
    lengths.add(len({len(file) for file in files}))
    print(f"{count} metadata entries, 20 saves: {different[count]} different files")
as_described = different[0] == different[1] == 1 and different[2] == 2 and different[6] > 10 and lengths == {1}
sys.exit(0 if as_described else "changed: this is no longer what safetensors does")
PY
