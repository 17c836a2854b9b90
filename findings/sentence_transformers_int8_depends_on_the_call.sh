#!/usr/bin/env bash
# sentence-transformers 6.2.0: `encode(precision="int8")` has its own scale in every call, and `similarity` refuses it.
#
# Guessed: int8 embeddings of two calls are comparable, equal for the same text, and go into `model.similarity`.
# Seen: the 256 steps of each dimension are spread between the smallest and largest value of that very call (it warns
# that this is not stable). Queries and documents encoded apart are on different scales; one text gets other codes
# with other company, and a text by itself is a ValueError. `model.similarity` fails for int8, uint8, binary and ubinary
# alike: it normalises, and that wants floats.
# Where it matters: an int8 gallery made once, queried one caption at a time.
# Way round: float embeddings, then `quantize_embeddings(..., ranges=...)` with one set of ranges that is kept.
. "$(dirname "$0")/_setup.sh"
install sentence-transformers==6.2.0 transformers==5.24.0 torch==2.13.0 tokenizers==0.23.3 numpy==2.4.6
run <<'PY'
import logging, sys
import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

logging.disable(logging.WARNING)
words = "a dog runs red car blue boat".split()
tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="a"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
weights = np.random.default_rng(0).standard_normal((len(words), 16)).astype(np.float32)
model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu")
three = model.encode(["a dog runs", "red car", "blue boat"], precision="int8")
two = model.encode(["a dog runs", "red car"], precision="int8")
moved = int(np.abs(three[0].astype(int) - two[0].astype(int)).max())
print("'a dog runs' beside two texts:", three[0][:6].tolist())
print("'a dog runs' beside one text: ", two[0][:6].tolist(), "largest difference", moved)
alone, refused = "", []
try:
    model.encode("a dog runs", precision="int8")
except ValueError as error:
    alone = str(error)
print("by itself:", alone)
for precision in ("int8", "uint8", "binary", "ubinary"):
    codes = model.encode(["a dog runs", "red car", "blue boat"], precision=precision)
    try:
        model.similarity(codes, codes)
    except RuntimeError as error:
        refused.append(precision)
print("similarity() refuses:", refused)
as_described = moved > 50 and "single embedding" in alone and len(refused) == 4
sys.exit(0 if as_described else "changed: this is no longer what sentence-transformers does")
PY
