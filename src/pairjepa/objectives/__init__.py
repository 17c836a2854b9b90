"""What is minimised: pure functions of tensors, each a named term with a weight."""

from pairjepa.objectives.objective import TERMS, Objective, ObjectiveValue, check_terms

__all__ = ["TERMS", "Objective", "ObjectiveValue", "check_terms"]
