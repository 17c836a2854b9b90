"""What is minimised: pure functions of tensors, each a named term with a weight. Every file here is found by itself."""

import importlib
import pkgutil

from pairjepa.objectives.terms import TERMS, Labels, Objective, ObjectiveValue, check_terms

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")

__all__ = ["TERMS", "Labels", "Objective", "ObjectiveValue", "check_terms"]
