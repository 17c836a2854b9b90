#!/usr/bin/env bash
# sentence-transformers 6.2.0: a model that gives every text one vector can score 100 %.
#
# Guessed: ties count against the model, or at random; a constant model is at chance, one in the gallery's size.
# Seen: RerankingEvaluator lists the positives before the negatives and sorts stably: MRR@10 is 1.0 for a constant
# model, while the MAP beside it, of the same scores, is at chance (0.1 for one positive in ten). In
# InformationRetrievalEvaluator the smaller id wins a tie: accuracy@1 is 1.0 or 0.0, after the names of the documents.
# Where it matters: collapse goes unseen in the metric; galleries with repeated captions; ids that sort by query.
. "$(dirname "$0")/_setup.sh"
install sentence-transformers==6.2.0 transformers==5.24.0 torch==2.13.0 tokenizers==0.23.3 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator, RerankingEvaluator
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

words = "zero one two three four five six seven eight nine query".split()
tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="zero"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
constant = StaticEmbedding(tokenizer, embedding_weights=np.ones((len(words), 4), np.float32))
model = SentenceTransformer(modules=[constant], device="cpu")
samples = [{"query": "query", "positive": ["one"], "negative": [w for w in words[:10] if w != "one"]}]
ranked = RerankingEvaluator(samples)(model)
print("reranking one positive among ten:", {k: round(float(v), 3) for k, v in ranked.items()})
accuracy = {}
for own in ("a", "z"):
    corpus = {own: "one", **{f"m{i}": w for i, w in enumerate(words[:10]) if w != "one"}}
    evaluator = InformationRetrievalEvaluator({"q": "query"}, corpus, {"q": {own}}, show_progress_bar=False)
    accuracy[own] = evaluator(model)["cosine_accuracy@1"]
    print(f"retrieval, relevant document named {own!r}: accuracy@1 {accuracy[own]}")
as_described = (
    ranked["mrr@10"] == 1 and abs(ranked["map"] - 0.1) < 1e-6 and accuracy == {"a": 1.0, "z": 0.0}
)
sys.exit(0 if as_described else "changed: this is no longer what sentence-transformers does")
PY
