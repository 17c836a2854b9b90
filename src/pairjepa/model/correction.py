"""The hubness correction that a run keeps beside its weights; no PyTorch is needed to read it."""

import json
from pathlib import Path

from pairjepa.metrics.hubness import HubnessCorrection
from pairjepa.util.arrays import read_arrays, write_arrays
from pairjepa.util.errors import PairJEPAError

FILE = "hubness.safetensors"


def save(correction: HubnessCorrection, run: Path, weights: str) -> None:
    """Keep a correction in a run's folder, with the digest of the weights that it was fitted to."""
    arrays = {"image": correction.image_bank, "text": correction.text_bank}
    about = {"correction": json.dumps(correction.settings()), "run": weights}
    write_arrays(arrays, run / FILE, about)


def load(run: Path, weights: str) -> HubnessCorrection | None:
    """What was kept in a run's folder; None if there is nothing, or it was fitted to other weights.

    Raises:
        PairJEPAError: the file is damaged.
    """
    path = run / FILE
    if not path.is_file():
        return None
    mend = "Remove it, and evaluate the run again, which makes it anew."
    banks, about = read_arrays(path, mend)
    if about.get("run") != weights:
        return None
    try:
        settings = json.loads(about["correction"])
        return HubnessCorrection(banks["image"], banks["text"], float(settings["alpha"]), int(settings["k"]))
    except (KeyError, TypeError, ValueError) as error:
        raise PairJEPAError(f"{path} is damaged ({error}). {mend}") from None
