#!/usr/bin/env bash
# sentence-transformers 6.2.0: rows of a bfloat16 model under `normalize_embeddings=True` are float32 and not of unit norm.
#
# Guessed: the array is float32, so it was made float32 first and normalised then; norms are 1 to 1e-6, and an index of
# inner products ranks by cosine.
# Seen: rows are divided by their norm in bfloat16, rounded to its 8 bits, and only then made float32: norms lie between
# 0.996 and 1.003. A text's product with itself is not 1, and the best of 3,000 texts by product is in some queries
# another one than by cosine. `similarity` of tensors normalises again in float32 and is right.
# Where it matters: models loaded in bfloat16 for speed, their rows put into an index that takes unit vectors on trust.
# Way round: normalise the float32 array oneself.
. "$(dirname "$0")/_setup.sh"
install sentence-transformers==6.2.0 transformers==5.24.0 torch==2.13.0 tokenizers==0.23.3 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

rng = np.random.default_rng(0)
words = [f"w{number}" for number in range(2000)]
tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="w0"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
weights = rng.standard_normal((len(words), 384)).astype(np.float32)
model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu")
texts = [" ".join(rng.choice(words, 8)) for _ in range(4000)]

exact = np.linalg.norm(model.encode(texts, normalize_embeddings=True), axis=1)
rows = model.bfloat16().encode(texts, normalize_embeddings=True)
norms = np.linalg.norm(rows, axis=1)
product = rows[:1000] @ rows[1000:].T
other = int((product.argmax(1) != (product / norms[1000:]).argmax(1)).sum())
print(f"float32 model: norms {exact.min():.6f} to {exact.max():.6f}")
print(f"bfloat16 model: {rows.dtype}, norms {norms.min():.4f} to {norms.max():.4f}")
print(f"best by product is not best by cosine: {other} of 1000 queries")
as_described = (
    abs(exact - 1).max() < 1e-5 and rows.dtype == np.float32 and abs(norms - 1).max() > 2e-3 and other > 0
)
sys.exit(0 if as_described else "changed: this is no longer what sentence-transformers does")
PY
