"""What a template is worth: zero-shot accuracy on images whose captions agree on one of ten words.

    python studies/label_templates.py RUN DATA

An image's right label is the one word of `WORDS` that at least three of its captions name, if none names another.
Templates are compared on dev; those of `pairjepa label` are measured on test, too. Writes docs/labels.json and fills
the tables of docs/labels.md.
"""

import re
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from results import ROOT, fill

from pairjepa.apps.embed import load_encoder
from pairjepa.apps.labels.confusion import confusion, measure
from pairjepa.apps.labels.labels import TEMPLATES, Labels
from pairjepa.evaluation.tables import markdown
from pairjepa.pairs.table import Pairs
from pairjepa.util.files import write_json

WORDS = (
    "dog", "beach", "bike", "pool", "snow", "soccer", "skateboard", "street", "basketball", "football",
)  # fmt: skip
AGREE = 3  # captions
SINGLE = (
    "{}", "a {}", "the {}", "a photo of a {}", "a picture of a {}", "there is a {} in the picture",
    "a {} outside", "people and a {}", "someone with a {}",
)  # fmt: skip
SETS: dict[str, tuple[str, ...]] = {
    **{template: (template,) for template in SINGLE},
    "all of these": SINGLE,
    "the default": TEMPLATES,
}

app = App(help_format="plaintext")


@app.default
def label_templates(
    run: Path, data: str, /, *, docs: Annotated[Path, Parameter(help="Folder of docs/.")] = ROOT
) -> None:
    """Measure and write."""
    encoder = load_encoder(run)
    found: dict[str, Any] = {"words": list(WORDS), "templates": {}}
    for split, sets in (("dev", list(SETS)), ("test", ["the default"])):
        pairs = Pairs.open(data).split(split)
        right = agreed(pairs)
        images = encoder.encode_image([pairs.image(row) for row in right])
        for name in sets:
            labels = Labels(encoder, WORDS, SETS[name])
            given = [WORDS[at] for at in labels.probabilities(images).argmax(axis=1)]
            measured = measure(confusion(list(zip(right.values(), given, strict=True)), WORDS), WORDS)
            found["templates"].setdefault(name, {"templates": SETS[name]})[split] = measured
    write_json(docs / "docs" / "labels.json", found)
    fill(docs / "docs" / "labels.md", "templates", table(found))


def agreed(pairs: Pairs) -> dict[int, str]:
    """The rows of images whose captions agree on one word, and that word."""
    found = {}
    for row, captions in enumerate(pairs.table["captions"].to_pylist()):
        named = Counter(word for caption in captions for word in _named(caption))
        if len(named) == 1 and next(iter(named.values())) >= AGREE:
            found[row] = next(iter(named))
    return found


def _named(caption: str) -> set[str]:
    return set(WORDS) & set(re.findall(r"\w+", caption.lower()))


def table(found: dict[str, Any]) -> str:
    """Accuracy of each template on dev, and of the default on test."""
    rows = [["template", "accuracy", "mean recall of the labels"]]
    for name, one in found["templates"].items():
        rows.append([name, _share(one["dev"]), f"{one['dev']['mean_recall']:.1f}"])
    dev, test = (found["templates"]["the default"][split] for split in ("dev", "test"))
    default = ", ".join(f"`{template}`" for template in found["templates"]["the default"]["templates"])
    said = (
        f"Percent of {dev['images']:,} dev images, with 95 % intervals; always the commonest label: "
        f"{dev['largest']:.1f}. The default is {default}. On {test['images']:,} test images it has {_share(test)} and "
        f"a mean recall of {test['mean_recall']:.1f}; always the commonest label: {test['largest']:.1f}."
    )
    return f"{markdown(rows)}\n\n{said}"


def _share(measured: dict[str, Any]) -> str:
    low, high = measured["accuracy_ci"]
    return f"{measured['accuracy']:.1f} [{low:.1f}, {high:.1f}]"


if __name__ == "__main__":
    app(sys.argv[1:])
