"""Which pairs are probably wrong: every caption scored by a model that was not trained on it.

Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels (2021) find wrong labels with
probabilities out of cross-validation in the same way.
"""

from pairjepa.apps.audit.auditing import audit, scored
from pairjepa.apps.audit.findings import Findings

__all__ = ["Findings", "audit", "scored"]
