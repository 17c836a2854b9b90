#!/usr/bin/env bash
# datasets 5.2.0: `map` with an imported function gives the old embeddings after the function or its weights have changed.
#
# Guessed: the cache of `map` is named after the function and what it uses; a change of either is computed again.
# Seen: that holds for functions written in the script itself. A function imported from a module counts as its name: with
# other weights in the module, and with other code, the next run reads the first run's result from the cache. A lambda
# of the script that calls `embedding.embed` notices another weight in the module, and no other code. Nothing is said.
# Where it matters: `dataset.map(embed)` after training one more epoch: the evaluation is that of the old model.
# Way round: hand the model over (`fn_kwargs`, or an object that holds it); `new_fingerprint=` with the checkpoint's
# checksum; `load_from_cache_file=False`.
. "$(dirname "$0")/_setup.sh"
install datasets==5.2.0 pyarrow==26.0.1 numpy==2.4.6
run <<'PY'
import subprocess, sys
from pathlib import Path
import pyarrow as pa
import pyarrow.parquet as pq

Path("use.py").write_text("""
import datasets, embedding

datasets.disable_progress_bars()
rows = datasets.load_dataset("parquet", data_files="rows.parquet", split="train", cache_dir="cached")
imported = rows.map(embedding.embed)["e"][:]
called = rows.map(lambda row: embedding.embed(row))["e"][:]
given = rows.map(lambda row, weight: {"e": row["x"] * weight}, fn_kwargs={"weight": embedding.WEIGHT})["e"][:]
print([imported, called, given])
""")
pq.write_table(pa.table({"x": [1.0, 2.0]}), "rows.parquet")
seen = []
for weight, code in ((1.0, 'row["x"] * WEIGHT'), (100.0, 'row["x"] * WEIGHT'), (100.0, '-row["x"] * WEIGHT')):
    Path("embedding.py").write_text(f'WEIGHT = {weight}\n\n\ndef embed(row):\n    return {{"e": {code}}}\n')
    done = subprocess.run([sys.executable, "-B", "use.py"], check=True, capture_output=True, text=True)
    seen.append(eval(done.stdout))
    print(f"weight {weight}, {code}: imported {seen[-1][0]}, called in a lambda {seen[-1][1]}, weight given {seen[-1][2]}")
old, new = [1.0, 2.0], [100.0, 200.0]
as_described = seen == [[old, old, old], [old, new, new], [old, new, new]]
sys.exit(0 if as_described else "changed: this is no longer what datasets does")
PY
