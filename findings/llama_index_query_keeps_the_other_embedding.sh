#!/usr/bin/env bash
# llama-index-core 0.14.25: the second search with one query object looks for texts with the image model's embedding.
#
# Guessed: a multi-modal retriever that is asked twice with the same `QueryBundle` answers the same twice.
# Seen: the search for texts computes its embedding only if the query has none, and the search for images puts that of
# the image model in its place. From the second call on, texts are ranked by the image model's query embedding. As both
# have one width here, nothing fails: the best caption, "dog", is no longer found, and "cat" is. A string as the query
# is right each time, as is `aretrieve`, which computes anew. Nothing is said.
# Where it matters: an evaluation or a sweep over several retrievers that makes its query objects once.
# Way round: a new `QueryBundle`, or a string, for each call.
. "$(dirname "$0")/_setup.sh"
install llama-index-core==0.14.25
run <<'PY'
import asyncio, sys
from llama_index.core.embeddings import BaseEmbedding, MultiModalEmbedding
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.schema import ImageNode, QueryBundle, TextNode
from llama_index.core.vector_stores import SimpleVectorStore


class Text(BaseEmbedding):
    def _get_query_embedding(self, query):
        return [1.0, 0.2, 0.1]

    async def _aget_query_embedding(self, query):
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text):
        raise NotImplementedError


class Pair(Text, MultiModalEmbedding):
    def _get_query_embedding(self, query):
        return [0.1, 0.5, 1.0]

    def _get_image_embedding(self, path):
        raise NotImplementedError

    _aget_image_embedding = _get_image_embedding


nodes = [
    TextNode(id_="dog", text="dog", embedding=[1.0, 0.0, 0.0]),
    TextNode(id_="cat", text="cat", embedding=[0.0, 1.0, 0.0]),
    ImageNode(id_="photo", text="photo", image_path="photo.jpg", embedding=[0.0, 0.0, 1.0]),
]
index = MultiModalVectorStoreIndex(
    nodes=nodes, embed_model=Text(), image_embed_model=Pair(), image_vector_store=SimpleVectorStore()
)
retriever = index.as_retriever(similarity_top_k=2, image_similarity_top_k=1)


def shown(hits):
    return [(hit.node.node_id, round(hit.score, 2)) for hit in hits]


query, later = QueryBundle("a dog"), QueryBundle("a dog")
objects = [shown(retriever.retrieve(query)) for _ in range(2)]
strings = [shown(retriever.retrieve("a dog")) for _ in range(2)]
waited = [shown(asyncio.run(retriever.aretrieve(later))) for _ in range(2)]
print(f"one object, twice:           {objects}")
print(f"a string, twice:             {strings}")
print(f"one object, aretrieve twice: {waited}")
first, second = ([name for name, _ in hits] for hits in objects)
as_described = (
    first[:2] == ["dog", "cat"]
    and "dog" not in second
    and "cat" in second
    and strings == waited == [objects[0]] * 2
)
sys.exit(0 if as_described else "changed: this is no longer what LlamaIndex does")
PY
