#!/usr/bin/env bash
# llama-index-core 0.14.25: fusing the hits of one search merges all regions of a picture into one, with a summed score.
#
# Guessed: `QueryFusionRetriever` tells hits apart by their id; six regions of two pictures, each a node with its box as
# metadata, stay six, and with one retriever and one query the ranking is the retriever's own.
# Seen: hits are told apart by a hash, and that of an `ImageNode` covers the picture's path, URL and text, not the
# metadata. The five regions of a picture are one, and the score is the sum of the five, so the picture with many weak
# regions passes the one with the best hit; the box is that of its last region (by ranks) or its first (by scores).
# Text nodes with equal text and other metadata stay apart, as their hash covers it. "simple" merges and does not add.
# An ingestion pipeline with a document store keeps one region of each picture. Nothing is said.
# Where it matters: crops, detections, pages and video frames as nodes.
# Way round: give each region its own text, such as its box, or use a class of node with its own `hash`.
. "$(dirname "$0")/_setup.sh"
install llama-index-core==0.14.25
run <<'PY'
import sys
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import BaseRetriever, QueryFusionRetriever
from llama_index.core.schema import ImageNode, NodeWithScore, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore


class Hits(BaseRetriever):
    def __init__(self, nodes):
        super().__init__()
        self.nodes = nodes

    def _retrieve(self, query):
        return [NodeWithScore(node=node, score=score) for node, score in self.nodes]


def regions(kind, field):
    pictures = ["best"] + ["other"] * 5
    boxes = [0, *range(5)]
    return [kind(id_=f"{p} {box}", metadata={"box": box}, **{field: f"{p}.jpg"}) for p, box in zip(pictures, boxes)]


images, texts = regions(ImageNode, "image_path"), regions(TextNode, "text")
scores = [0.9, 0.6, 0.5, 0.4, 0.3, 0.2]
found = {}
for kind, nodes in (("images", images), ("texts", texts)):
    for mode in ("reciprocal_rerank", "relative_score", "simple"):
        search = [Hits(list(zip(nodes, scores)))]
        options = {"num_queries": 1, "similarity_top_k": 9, "use_async": False}
        fused = QueryFusionRetriever(search, llm=MockLLM(), mode=mode, **options)
        found[kind, mode] = [(hit.node.node_id, round(hit.score, 3)) for hit in fused.retrieve("a dog")]
        print(f"{kind}, {mode}: {found[kind, mode]}")
pipeline = IngestionPipeline(transformations=[], docstore=SimpleDocumentStore())
kept = [node.node_id for node in pipeline.run(nodes=images)]
print(f"an ingestion pipeline keeps {kept}")
names = {key: [name for name, _ in hits] for key, hits in found.items()}
as_described = (
    names["images", "reciprocal_rerank"] == ["other 4", "best 0"]
    and names["images", "relative_score"] == ["other 0", "best 0"]
    and names["images", "simple"] == ["best 0", "other 0"]
    and all(len(names["texts", mode]) == 6 for mode in ("reciprocal_rerank", "relative_score", "simple"))
    and len(kept) == 2
)
sys.exit(0 if as_described else "changed: this is no longer what LlamaIndex does")
PY
