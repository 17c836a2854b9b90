"""Hours and money for 1 million, 100 million and 1 billion pairs, on paper: measured rates, multiplied.

    python studies/cost_model.py [--core-hour 0.04] [--gpu-hour 2] [--epochs 5] ...

Reads the rates that benchmarks/ measured from docs/performance/ and fills two tables of docs/scaling.md: what each
stage costs, and what it takes of what a machine has. A rate that is not there yet is named, and its cells stay empty.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from results import ROOT, fill

from pairjepa.evaluation.tables import markdown
from pairjepa.util.errors import PairJEPAError
from pairjepa.util.files import read_json
from pairjepa.util.progress import say

DOCS = ROOT / "docs"
SIZES = {"1 M pairs": 10**6, "100 M": 10**8, "1 B": 10**9}
UNKNOWN = "–"

# EfficientNet-Lite2 with its lower stages, and MiniLM, as `train contrastive` takes them.
VIEWS = 2
VIEW_GFLOP = 1.15
"""One view of 224 pixels through EfficientNet-Lite2, counted by torch.utils.flop_counter."""
IMAGE_WIDTH, TEXT_WIDTH, DIM = 1960, 768, 512
TRAINED = 3_976_705
"""Weights of the heads."""
BATCH = 1000
SHARD = 512
"""Items whose features are one file of the cache; a second file beside it has their keys."""
THUMBNAIL = 15_200
"""Bytes, mean of 203 images of Flickr8k in an index; `index_bytes` is measured with tiny ones."""

ENGINES = ("torch", "openvino", "onnx")
MEASURED, CALCULATED = "measured × pairs", "calculated"

app = App(help_format="plaintext", result_action="return_value")


@Parameter(name="*")
@dataclass(frozen=True)
class Assumptions:
    """What was not measured."""

    core_hour: float = 0.04
    """Dollars for a CPU core and hour."""
    cores: int = 16
    """Cores of the machine that computes features; twice the cores are taken to be twice as fast."""
    gpu_hour: float = 2.0
    """Dollars for a GPU and hour."""
    gpu_tflops: float = 19.5
    """Its peak in float32, in 10^12 operations a second."""
    gpu_share: float = 0.25
    """Share of that peak which a backbone of small convolutions reaches."""
    tb_month: float = 23.0
    """Dollars for a terabyte and month on object storage."""
    image_kb: float = 20.0
    """Size of a photograph whose shorter side has 256 pixels."""
    captions: int = 1
    """Captions of an image."""
    epochs: int = 5
    """Passes of the head training; the more pairs, the fewer are needed."""


@dataclass(frozen=True)
class Rates:
    """What was measured; None where it is missing."""

    image: float | None
    """Core-seconds for the features of an image, from its JPEG file on."""
    caption: float | None
    """Core-seconds for those of a caption."""
    train: float | None
    """Seconds of head training for an image and epoch, in one process."""
    train_cores: int | None
    """Cores that it had."""
    train_bytes: float | None
    """Memory of a training for each image more, with its captions."""
    index_bytes: float | None
    """Of an index on disk for each image, its thumbnail left out."""
    build: float | None
    """Core-seconds for each image to write its rows and make the index approximate."""
    query: float | None
    """Seconds of a text query among a million images, median."""
    found: float | None
    """Share of the ten nearest that it finds."""
    server_bytes: float | None
    """Memory of the process that is asked."""


@app.default
def cost_model(
    *,
    assumed: Assumptions = Assumptions(),
    measured: Annotated[Path, Parameter(help="Folder of what benchmarks/ wrote.")] = DOCS / "performance",
    page: Annotated[Path, Parameter(help="Page whose blocks are filled.")] = DOCS / "scaling.md",
) -> None:
    """Calculate and write."""
    rates = read(measured)
    fill(page, "cost", costs(rates, assumed))
    fill(page, "limits", limits(rates, assumed))
    say(f"wrote {page}")


def read(folder: Path) -> Rates:
    """The measured rates; what is missing is said.

    Raises:
        PairJEPAError: a file is damaged, or no longer has what is looked for.
    """
    growth, features, queries = (_content(folder / f"{n}.json") for n in ("growth", "features", "queries"))
    try:
        index = queries and queries["sides"]["1000000 approximate"]
        return Rates(
            image=features and _core_seconds(features, ""),
            caption=features and _core_seconds(features, "text-"),
            train=growth and _largest(growth)[-1]["training_milliseconds_an_image_and_epoch"] / 1000,
            train_cores=growth and growth["cpus"],
            train_bytes=growth and _slope(*_largest(growth)),
            index_bytes=index and index["disk_mb"] * 1e6 / index["rows"],
            build=index and index["build_seconds"] * queries["cpus"] / index["rows"],
            query=index and index["seconds"],
            found=index and index["recall_at_10"],
            server_bytes=index and index["peak_rss_mb"] * 2**20,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise PairJEPAError(
            f"The measurements in {folder} must be those of this version of benchmarks/, got none of {error}. "
            "Measure again."
        ) from None


def _content(path: Path) -> Any:
    if path.is_file():
        return read_json(path, "The measurement")
    say(f"{path} is not there, so cells stay empty. Measure it: python benchmarks/{path.stem}.py --help")
    return None


def _core_seconds(features: Any, prefix: str) -> float:
    """For an image or, with the prefix text-, a caption: all of the way, with the fastest engine."""
    sides = [features["sides"][prefix + engine] for engine in ENGINES if prefix + engine in features["sides"]]
    return float(features["cpus"] * min(side["pipeline_seconds"] / side["items"] for side in sides))


def _largest(growth: Any) -> list[Any]:
    """The two with most images, the larger last."""
    return sorted(growth["sides"].values(), key=lambda side: side["items"])[-2:]


def _slope(small: Any, large: Any) -> float | None:
    """Bytes for each image more; None where that is too little to be seen."""
    more = (large["peak_anonymous_mb"] - small["peak_anonymous_mb"]) * 2**20
    return more / (large["items"] - small["items"]) if more > 0 else None


def costs(rates: Rates, a: Assumptions) -> str:
    """What each stage costs, and what was assumed."""
    machine, trainer = f"{a.cores} cores", rates.train_cores or 2
    captions = _times(rates.caption, a.captions)
    training = _times(rates.train, a.epochs * trainer)
    stages = (rates.image, captions, training, rates.image, rates.build)
    whole = None if None in stages else sum(filter(None, stages))
    gpu = VIEWS * VIEW_GFLOP / (1000 * a.gpu_tflops * a.gpu_share)

    def on_cores(core_seconds: float | None, cores: int = a.cores) -> list[str]:
        return _used(_times(core_seconds, 1 / cores), cores * a.core_hour)

    rows = [
        ["", "on", *SIZES, "how known"],
        ["photographs, in shards", "storage", *_stored(a.image_kb * 1000, a), CALCULATED],
        ["image features", machine, *on_cores(rates.image), MEASURED],
        ["image features", "1 GPU", *_used(gpu, a.gpu_hour), CALCULATED],
        ["caption features", machine, *on_cores(captions), MEASURED],
        ["features, kept", "storage", *_stored(feature_bytes(a), a), CALCULATED],
        ["head training", f"{trainer} cores", *on_cores(training, trainer), MEASURED],
        ["index: embedding", machine, *on_cores(rates.image), "as image features"],
        ["index: tables", machine, *on_cores(rates.build), MEASURED],
        ["index, kept", "storage", *_stored(_plus(rates.index_bytes, THUMBNAIL), a), MEASURED],
        [
            "all that is done once, without a GPU",
            "",
            *_each(whole, lambda s: _money(s / 3600 * a.core_hour)),
            "sum",
        ],
        ["a query by words", "2 cores", _query(rates), UNKNOWN, UNKNOWN, "measured"],
    ]
    said = (
        f"Assumed: an image has {_counted(a.captions, 'caption')}; a core costs ${a.core_hour:g} an hour, a GPU "
        f"${a.gpu_hour:g}, a terabyte ${a.tb_month:g} a month; {a.cores} cores do {a.cores / 2:g} times what two do; "
        f"the GPU computes {a.gpu_tflops:g} Tflop/s in float32, of which a backbone of small convolutions reaches "
        f"{a.gpu_share:.0%}; a photograph has {a.image_kb:g} KB; the heads learn for {_counted(a.epochs, 'epoch')}."
    )
    return f"{markdown(rows)}\n\n{said}"


def limits(rates: Rates, a: Assumptions) -> str:
    """What each stage takes of a machine's memory, disk and network."""
    sample = 4 * (IMAGE_WIDTH + TEXT_WIDTH)  # one view and one caption
    per_second = None if rates.train is None else 1 / rates.train
    # embeddings of both sides are gathered and their gradients summed, then those of the weights
    step = 4 * (4 * BATCH * DIM + TRAINED)
    rows = [
        ["", "takes", *SIZES, "how known"],
        ["table of pairs, in `train`", "memory", *_sized(rates.train_bytes), MEASURED],
        ["feature cache", "files", *(f"{_short(4 * n / SHARD)}" for n in SIZES.values()), CALCULATED],
        ["features, kept", "memory or disk", *_sized(feature_bytes(a)), CALCULATED],
        ["features, read in training", "reading", *[_rate(_times(per_second, sample))] * 3, CALCULATED],
        [
            "training in several processes",
            "network",
            *[_rate(_times(per_second, step / BATCH))] * 3,
            CALCULATED,
        ],
        ["vectors of the index", "memory or disk", *_sized(4 * DIM * (1 + a.captions)), CALCULATED],
        [
            "a server of it",
            "memory",
            _sized(_times(rates.server_bytes, 1e-6))[0],
            UNKNOWN,
            UNKNOWN,
            "measured",
        ],
    ]
    return markdown(rows)


def feature_bytes(a: Assumptions) -> float:
    """Of the features of an image and its captions."""
    return 4 * (VIEWS * IMAGE_WIDTH + a.captions * TEXT_WIDTH)


def _used(seconds: float | None, price: float) -> list[str]:
    """Hours and dollars, given the seconds that an image takes and the price of an hour."""
    return _each(_times(seconds, 1 / 3600), lambda hours: f"{_short(hours)} h, {_money(hours * price)}")


def _stored(size: float | None, a: Assumptions) -> list[str]:
    """Terabytes and dollars a month, given the bytes of an image."""
    return _each(_times(size, 1e-12), lambda tb: f"{_short(tb)} TB, {_money(tb * a.tb_month)} a month")


def _sized(size: float | None) -> list[str]:
    """Gigabytes, given the bytes of an image."""
    return _each(_times(size, 1e-9), lambda gb: f"{_short(gb)} GB")


def _each(amount: float | None, cell: Callable[[float], str]) -> list[str]:
    """The cell of each size, given the amount for one image."""
    return [UNKNOWN if amount is None else cell(amount * pairs) for pairs in SIZES.values()]


def _rate(size: float | None) -> str:
    return UNKNOWN if size is None else f"{_short(size / 1e6)} MB/s"


def _query(rates: Rates) -> str:
    if rates.query is None or rates.found is None:
        return UNKNOWN
    return f"{_short(rates.query * 1000)} ms, {rates.found:.1%} of the ten nearest"


def _times(one: float | None, other: float) -> float | None:
    return None if one is None else one * other


def _plus(one: float | None, other: float) -> float | None:
    return None if one is None else one + other


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _money(dollars: float) -> str:
    return f"${_short(dollars)}" if dollars >= 0.01 else "under 1 cent"


def _short(number: float) -> str:
    """Two digits that count: no more of it is known."""
    rounded = float(f"{number:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


if __name__ == "__main__":
    app(sys.argv[1:])
