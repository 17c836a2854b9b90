"""Other ways to train the same two backbones on the same pairs, each as its own library's examples do it."""

from peers.job import Peer as Peer
from peers.reference import Reference
from peers.run_clip import FrozenRunClip, RunClip
from peers.sentence_transformers import SentenceTransformers

PEERS: dict[str, type[Peer]] = {
    "reference": Reference,
    "sentence-transformers": SentenceTransformers,
    "run_clip": RunClip,
    "run_clip-frozen": FrozenRunClip,
}
CURVES = [name for name in PEERS if name != "reference"]
