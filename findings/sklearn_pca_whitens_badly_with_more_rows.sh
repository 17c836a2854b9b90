#!/usr/bin/env bash
# scikit-learn 1.9.1: PCA of float32 embeddings with a large mean is right for 639 rows and wrong for 640.
#
# Guessed: more rows give a better PCA, and `PCA(whiten=True).fit_transform` has the standard deviation 1 everywhere.
# Seen: from ten rows for each dimension on, the default solver forms X^T X in float32 and takes the mean off that
# product, not off the rows. Here the mean is ten times as long as the spread along the first component (embeddings of
# one modality lie in such a cone), and the last component has a thousandth of that spread. Its variance, 1e-6, becomes
# 0, and whitening multiplies it by thousands; the components before it are off by a third and more. No warning. With
# 639 rows, with `svd_solver="full"`, in float64, and with rows from which the mean was taken first, all is right.
# Where it matters: whitening before retrieval or clustering: the last component decides every distance.
# Way round: `svd_solver="full"`, or subtract the mean first.
. "$(dirname "$0")/_setup.sh"
install scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
run <<'PY'
import sys, warnings
import numpy as np
from sklearn.decomposition import PCA

warnings.simplefilter("error")
generator = np.random.default_rng(0)
rotation = np.linalg.qr(generator.standard_normal((64, 64)))[0]
embeddings = generator.standard_normal((640, 64)) * np.geomspace(1, 0.001, 64) @ rotation + 10 / 8
embeddings = embeddings.astype(np.float32)
print(f"length of the mean {np.linalg.norm(embeddings.mean(0)):.1f}")


def whitened(rows, solver="auto"):
    pca = PCA(whiten=True, svd_solver=solver)
    return pca.fit_transform(rows).std(0, ddof=1), pca.explained_variance_


seen = {
    "639 rows": whitened(embeddings[:639]),
    "640 rows": whitened(embeddings),
    "640 rows, full": whitened(embeddings, "full"),
    "640 rows, float64": whitened(embeddings.astype(np.float64)),
    "640 rows, centred": whitened(embeddings - embeddings.mean(0)),
}
for name, (deviation, variance) in seen.items():
    print(f"{name:18} last variances {variance[-3:]}, deviations of the last components {deviation[-3:]}")
wrong = seen.pop("640 rows")
as_described = all(np.allclose(deviation, 1, atol=0.01) for deviation, _ in seen.values())
exact = seen["640 rows, float64"][1]
as_described &= wrong[1][-1] < exact[-1] / 3 and wrong[0][-1] > 1.5
sys.exit(0 if as_described else "changed: this is no longer what scikit-learn does")
PY
