#!/usr/bin/env bash
# pynndescent 0.7.0: with `metric="true_angular"` the nearest row has the largest distance; a classifier errs by it.
#
# Guessed: "true angular distance" grows with the angle: 0 for one direction, 1 for opposite ones; `neighbor_graph` and
# `query` give distances that rise along each row.
# Seen: it is 1 - angle / pi, so it falls with the angle: a row of the graph reads 0, 0.794, 0.789, 0.779, and `query`
# gives the best hit 0.97, the next 0.81. The order of the neighbours is right; the numbers are upside down, with a 0
# for the row itself, and what weighs or sorts by them errs: scikit-learn's classifier on the transformer's graph takes
# the farthest of twenty neighbours as its five nearest, 0.86 right in place of 0.92. The docstring has this formula
# and, two lines on, says that it is 0 for one direction and nears 1 for opposite ones. Nothing else is said.
# By inner product, too, the graph gives each row itself first with 0, where it is minus its squared length.
# Where it matters: angular distance for embeddings of unit length, in UMAP, clustering, neighbour classifiers.
# Way round: `metric="cosine"`; 1 - distance if angles are needed.
. "$(dirname "$0")/_setup.sh"
install pynndescent==0.7.0 scikit-learn==1.9.1 numba==0.68.1 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from pynndescent import NNDescent, PyNNDescentTransformer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

random = np.random.default_rng(0)
centres = random.standard_normal((20, 16))
label = np.repeat(np.arange(20), 50)
rows = (centres[label] + 0.9 * random.standard_normal((1000, 16))).astype("f4")
unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
index = NNDescent(rows, metric="true_angular", n_neighbors=8, random_state=0)
near, distance = index.neighbor_graph
angle = np.arccos(np.clip((unit[:, None] * unit[near]).sum(-1), -1, 1)) / np.pi
print(f"distances {distance[0].round(3)}\nangles/pi {angle[0].round(3)}")
asked = index.query(rows[:1] + 0.1, k=4)[1][0]
print(f"a query's distances {asked.round(3)}")
held = np.arange(1000) % 5 == 0
right = {}
for metric in ("cosine", "true_angular"):
    graph = PyNNDescentTransformer(n_neighbors=20, metric=metric, random_state=0)
    model = make_pipeline(graph, KNeighborsClassifier(5, metric="precomputed")).fit(rows[~held], label[~held])
    right[metric] = model.score(rows[held], label[held])
    print(f"five nearest neighbours of the {metric} graph: {right[metric]:.3f} right")
longer = NNDescent(rows, metric="inner_product", n_neighbors=8, random_state=0).neighbor_graph
print(f"inner product: {longer[1][0, :3].round(2)}, of the row with itself {-(rows[0] @ rows[0]):.2f}")
as_described = (
    bool((np.diff(angle[:, 1:]) > -1e-5).all() and (np.diff(distance[:, 1:]) < 1e-5).all())
    and bool(np.allclose(distance[:, 1:], 1 - angle[:, 1:], atol=1e-3) and (distance[:, 0] == 0).all())
    and asked[0] > asked[-1] > 0.5
    and right["cosine"] > right["true_angular"] + 0.02
    and longer[1][0, 0] == 0 > longer[1][0, 1]
)
sys.exit(0 if as_described else "changed: this is no longer what PyNNDescent does")
PY
