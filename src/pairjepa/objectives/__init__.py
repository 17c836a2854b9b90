"""What is minimised: pure functions of tensors, each a named term with a weight."""

from pairjepa.objectives.info_nce import Labels
from pairjepa.objectives.objective import TERMS, Everyone, Objective, ObjectiveValue, check_terms

__all__ = ["TERMS", "Everyone", "Labels", "Objective", "ObjectiveValue", "check_terms"]
