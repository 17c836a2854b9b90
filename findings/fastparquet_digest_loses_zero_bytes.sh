#!/usr/bin/env bash
# fastparquet 2026.9.0, pyarrow 26.0.1: of digests and binary codes of fixed length the zero bytes at the end are gone.
#
# Guessed: a column of fixed-size bytes (16 a row) comes back with 16 bytes a row, and one of float16 as float16: both are
# Parquet types that pyarrow writes.
# Seen: the bytes are read into NumPy's "S16", which ends at the last byte that is not 0. About 1 of 256 digests is shorter
# than it was, and no longer found among the others; codes that are all 0 are empty. float16 comes as two bytes in an
# object column, 0.0 as none at all. Variable-length bytes keep their zeros. Nothing is said.
# Where it matters: checksums of images as keys, binary (1-bit) embeddings, float16 scores: most rows are right.
# Way round: pyarrow; or write such columns as `pa.binary()`; for digests `.ljust(16, b"\0")`.
. "$(dirname "$0")/_setup.sh"
install fastparquet==2026.9.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
run <<'PY'
import hashlib
import sys
import fastparquet
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

digests = [hashlib.md5(str(row).encode()).digest() for row in range(2000)]
codes = [np.packbits(np.arange(16) < ones).tobytes() for ones in (0, 4, 8, 12)] * 500
scores = np.array([0.0, 0.5, 1.0, -2.0] * 500, dtype=np.float16)
columns = {
    "digest": pa.array(digests, pa.binary(16)),
    "variable": pa.array(digests, pa.binary()),
    "code": pa.array(codes, pa.binary(2)),
    "score": pa.array(scores),
}
pq.write_table(pa.table(columns), "rows.parquet")
read = fastparquet.ParquetFile("rows.parquet").to_pandas()
short = [(row, bytes(value)) for row, value in enumerate(read["digest"]) if len(value) < 16]
found = len(set(read["digest"]) & set(digests))
print(f"digests of 16 bytes: {len(short)} of 2000 are shorter, {found} are still found")
row, value = short[0]
print(f"row {row}: {digests[row].hex()} is read as {value.hex()}")
print(f"codes of 2 bytes: {codes[:4]} are read as {read['code'].tolist()[:4]}")
print(f"float16: {scores[:4].tolist()} are read as {read['score'].tolist()[:4]}, dtype {read['score'].dtype}")
back = pq.read_table("rows.parquet").to_pylist()
right = [row["digest"] for row in back] == digests and read["variable"].tolist() == digests
as_described = right and 0 < len(short) == 2000 - found and all(digests[row].startswith(value) for row, value in short)
as_described = as_described and read["code"].tolist()[:2] == [b"", b"\xf0"] and read["score"].tolist()[0] == b""
sys.exit(0 if as_described else "changed: this is no longer what fastparquet does")
PY
