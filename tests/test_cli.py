"""The command line: what it passes on, what it prints where, and how it ends. The work itself is a stand-in."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pairjepa
from pairjepa.__main__ import main as started
from pairjepa.cli import main
from pairjepa.config.recipes import RECIPES, recipe
from pairjepa.config.renamed import FIELDS
from pairjepa.config.settings import differences
from pairjepa.objectives import TERMS
from pairjepa.util.errors import PairJEPAError, UsageError

RUN_FLAGS = ["--data", "DATA", "--model.image", "IMG", "--model.text", "TXT", "--run", "RUN"]
NAMES = tuple(TERMS)  # of the package, whatever a test registers later
RESULT = {
    "split": "test",
    "rsum": 12.5,
    "notes": ["does not beat CCA: 1.0 under it"],
    "data": {"other": False},
    "hard_negatives": None,
}

AUDIT = {
    "estimated_wrong": 1,
    "captions": 5,
    "worst": [],
    "twin_images": {"count": 0},
    "shared_captions": {"count": 0},
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """The calls that reach a stand-in of `pairjepa.training.train`, which prints while it works, as a library may."""
    made: list[SimpleNamespace] = []

    def record(verb: str, result: Any) -> Callable[..., Any]:
        def work(*arguments: Any, **options: Any) -> Any:
            print("a library prints")
            made.append(SimpleNamespace(verb=verb, arguments=arguments, options=options))
            return result

        return work

    report = {"images": 3, "name": "\udcff caf\u00e9", "splits": {"train": {}, "dev": {}}, "generated": False}
    monkeypatch.setattr("pairjepa.apps.inspect.inspect", record("inspect", report))
    monkeypatch.setattr("pairjepa.training.train.train", record("train", None))
    monkeypatch.setattr("pairjepa.training.train.train_seeds", record("train_seeds", None))
    monkeypatch.setattr("pairjepa.evaluation.evaluate.evaluate", record("evaluate", RESULT))
    monkeypatch.setattr("pairjepa.evaluation.without_run.evaluate_pair", record("pair", RESULT))
    monkeypatch.setattr("pairjepa.apps.audit.audit", record("audit", AUDIT))
    monkeypatch.setattr("pairjepa.pairs.inspect.render", lambda r: f"{r['images']} images")
    monkeypatch.setattr("pairjepa.evaluation.tables.table", lambda r: f"table of {list(r)}")
    return made


def trained(calls: list[SimpleNamespace], *flags: str, name: str = "contrastive") -> Any:
    """The configuration that `train NAME` hands on."""
    assert main(["train", name, *RUN_FLAGS, *flags]) == 0
    config, pairs, run = calls[-1].arguments
    assert (pairs, run) == (None, Path("RUN"))
    return config


@pytest.mark.parametrize(
    "command",
    [[], ["inspect"], ["train"], *(["train", name] for name in RECIPES), ["evaluate"], ["compare"], ["demo"]],
    ids=" ".join,
)
def test_every_command_has_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Usage: pairjepa")
    assert not err


def test_the_help_of_train_lists_the_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "--help"])
    out = capsys.readouterr().out
    assert all(f"│ {name} " in out for name in RECIPES)


def test_the_help_of_a_recipe_shows_its_values_and_the_docstrings_of_the_fields() -> None:
    help = [sys.executable, "-m", "pairjepa", "train", "reference-contrastive", "--help"]
    wide = os.environ | {"COLUMNS": "1000"}  # no name is wrapped
    printed = subprocess.run(
        help, env=wide, capture_output=True, text=True, encoding="utf-8", check=True
    ).stdout
    text = " ".join(printed.replace("│", " ").split())
    assert "--model.image STR... Image backbone: a local Transformers folder" in text
    assert "[default: microsoft/resnet-18]" in text
    assert not [name for name in NAMES if f"--objective.weights.{name.replace('_', '-')} FLOAT" not in text]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == pairjepa.__version__


def test_what_is_not_given_is_the_recipe_s(calls: list[SimpleNamespace]) -> None:
    given = {"data.source": "DATA", "model.image": "IMG", "model.text": "TXT"}
    assert trained(calls) == recipe("contrastive", given)


@pytest.mark.parametrize(
    ("flags", "changed"),
    [
        (["--model.dim", "8"], {"model.dim": 8}),
        (["--model.image-projection.hidden-dim=9"], {"model.image_projection.hidden_dim": 9}),
        (["--objective.weights.info-nce", "0.5"], {"objective.weights.info_nce": 0.5}),
        (["--objective.weights.smooth-l1", "2"], {"objective.weights.smooth_l1": 2.0}),
        (["--objective.no-learn-temperature"], {"objective.learn_temperature": False}),
        (["--model.image-stages", "15", "20", "21"], {"model.image_stages": (15, 20, 21)}),
        (["--model.image-stages", "-1"], {"model.image_stages": (-1,)}),
        (["--model.image-views", "centre"], {"model.image_views": ("centre",)}),
        (["--model.text-lr-scale", "0.05"], {"model.text_lr_scale": 0.05}),
        (["--training.learning-rate", "1e-4"], {"training.learning_rate": 1e-4}),
    ],
)
def test_a_flag_changes_its_field_alone(
    flags: list[str], changed: dict[str, Any], calls: list[SimpleNamespace]
) -> None:
    config = trained(calls, *flags)
    found = {name: new for name, (_, new) in differences(trained(calls), config).items()}
    assert found == changed


@pytest.mark.parametrize(
    "flag", ["--model.image-lr-scale", "--model.image-size", "--data.pairs", "--model.text-layers"]
)
def test_none_turns_a_setting_off(flag: str, calls: list[SimpleNamespace]) -> None:
    config = trained(calls, flag, "none", name="reference-contrastive")
    section, field = flag.removeprefix("--").replace("-", "_").split(".")
    assert getattr(getattr(config, section), field) is None


@pytest.mark.parametrize(("old", "new"), FIELDS.items())
def test_a_flag_of_0_1_names_the_new_one(old: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    flag, now = ("--" + name.replace("_", "-") for name in (old, new))
    for given in ([flag, "0.5"], [f"{flag}=0.5"]):
        assert main(["train", "tiny-masked", "--data", "shapes", "--run", "RUN", *given]) == 2
        assert f"It is {now} now." in capsys.readouterr().err
    with pytest.raises(UsageError, match=f"Unknown setting {old}. It is {new} now."):
        recipe("masked", {old: 0.5})


def test_a_value_of_0_1_names_the_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["train", "tiny-masked", "--data", "shapes", "--run", "RUN", "--context.target", "average"]) == 2
    )
    assert "It is ema now." in capsys.readouterr().err


def test_a_default_can_be_given_back(calls: list[SimpleNamespace]) -> None:
    """The class's own default, given on purpose, beats the recipe's value."""
    config = trained(calls, "--objective.label-smoothing", "0", "--model.image-projection.input-dropout", "0")
    assert config.objective.label_smoothing == 0
    assert config.model.image_projection.input_dropout == 0


def test_what_the_recipe_leaves_open_must_be_given(
    calls: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "tiny", "--data", "shapes", "--run", "RUN"]) == 0
    assert main(["train", "adapt", "--data", "shapes", "--run", "RUN"]) == 2
    assert (
        "train adapt must be given --model.pair, got none. A pretrained pair in place of both"
        in capsys.readouterr().err
    )
    assert len(calls) == 1


def test_encoders_and_run_folder_are_chosen_and_said_where_none_is_named(
    calls: list[SimpleNamespace],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "contrastive", "--data", "my photos/all.csv", "--model.text", "TXT"]) == 0
    config, _, run = calls[0].arguments
    assert (config.model.image, config.model.text) == ("google/efficientnet-b0", "TXT")
    assert run == Path("runs/contrastive-all-1")
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == "run folder: runs/contrastive-all-1"
    assert second.startswith("model.image: google/efficientnet-b0 of the Hugging Face hub (Apache-2.0)")


@pytest.mark.parametrize(("word", "split"), [("val", "dev"), ("Validation", "dev"), ("test", "test")])
def test_val_is_dev(word: str, split: str, calls: list[SimpleNamespace]) -> None:
    assert main(["evaluate", "RUN", "--split", word]) == 0
    assert calls[0].arguments == (Path("RUN"), split)


def test_inspect_names_a_training_only_where_there_is_a_train_split(
    calls: list[SimpleNamespace], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--data.split-column", "part", "--data.no-header", "--model.text", "TXT"]
    assert main(["inspect", "DATA", *flags]) == 0
    following = "train contrastive --data DATA --data.split-column part --data.no-header --model.text TXT\n"
    assert capsys.readouterr().err.endswith(following)
    monkeypatch.setattr(
        "pairjepa.apps.inspect.inspect", lambda *_, **__: {"images": 1, "splits": {"train": {}, "test": {}}}
    )
    assert main(["inspect", "DATA"]) == 0
    assert "next:" not in capsys.readouterr().err


def test_seeds_train_a_group(calls: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]) -> None:
    alone = trained(calls)
    assert main(["train", "contrastive", *RUN_FLAGS, "--seeds", "3"]) == 0
    assert [call.verb for call in calls] == ["train", "train_seeds"]
    assert calls[1].arguments == (alone, None, Path("RUN"), 3)
    assert capsys.readouterr().err.endswith("next: pairjepa evaluate RUN --split test\n")


def test_inspect_passes_on_the_settings_of_the_data(calls: list[SimpleNamespace]) -> None:
    assert main(["inspect", "DATA", "--data.caption-column", "text", "--model.text", "TXT"]) == 0
    config, text_model = calls[0].arguments
    assert (config.source, config.caption_column, text_model) == ("DATA", ("text",), "TXT")
    assert calls[0].options == {"pair": None, "leaks": None}
    assert main(["inspect", "DATA", "--model.pair", "CLIP"]) == 0
    assert (calls[1].arguments[1], calls[1].options) == (None, {"pair": "CLIP", "leaks": None})
    assert main(["inspect", "DATA", "--model.pair", "CLIP", "--model.text", "TXT"]) == 2


def test_drawn_pairs_are_for_the_tiny_recipe(
    calls: list[SimpleNamespace], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = {"images": 1, "splits": {"train": {}, "dev": {}}, "generated": True}
    monkeypatch.setattr("pairjepa.apps.inspect.inspect", lambda *_, **__: drawn)
    for flags, name in (
        ([], "tiny"),
        (["--model.text", "TXT"], "contrastive"),
        (["--model.pair", "P"], "adapt"),
    ):
        assert main(["inspect", "shapes", *flags]) == 0
        following = " ".join(["next: pairjepa train", name, "--data shapes", *flags])
        assert capsys.readouterr().err.endswith(f"{following}\n")


def test_evaluate_passes_on_its_options(calls: list[SimpleNamespace]) -> None:
    assert main(["evaluate", "RUN", "--split", "dev", "--export", "OUT", "--relevance", "text"]) == 0
    assert calls[0].arguments == (Path("RUN"), "dev")
    assert calls[0].options == {"export": Path("OUT"), "relevance": "text", "data": None}


def test_demo_says_what_came_out_and_what_to_do_next(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = SimpleNamespace(demo=lambda run: ([run / "one", run / "two"], "what came out"))
    monkeypatch.setattr("pairjepa.apps.demo.demo", fake.demo)
    assert main(["demo", "--run", "RUN"]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == "what came out"
    assert "wrote RUN/one and RUN/two" in err
    assert "next: pairjepa inspect DATA\nnext: pairjepa train adapt --data DATA --model.pair " in err


@pytest.mark.parametrize(("command", "key"), [(["inspect", "DATA"], "images"), (["evaluate", "RUN"], "rsum")])
def test_json_is_one_object_and_nothing_else(
    command: list[str], key: str, calls: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--json"]) == 0
    out, err = capsys.readouterr()
    assert key in json.loads(out)
    assert "a library prints" in err


def test_results_go_to_stdout_and_the_rest_to_stderr(
    calls: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["inspect", "DATA"])
    assert capsys.readouterr().out == "3 images\n"
    main(["evaluate", "some/run", "--export", "OUT"])
    out, err = capsys.readouterr()
    assert out == "table of ['run']\n\ndoes not beat CCA: 1.0 under it\n"
    assert "wrote some/run/evaluation, some/run/embeddings, some/run/illustrations, OUT\n" in err


def test_a_seed_group_has_its_own_table_the_notes_of_each_seed_and_those_of_all_once(
    calls: list[SimpleNamespace], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = [
        RESULT | {"run": f"RUN/seed-{seed}", "seed": seed, "notes": ["of all", f"note {seed}"]}
        for seed in (0, 1)
    ]
    group = {"seeds": seeds, "mean": {"rsum": 12.5}, "sd": None}
    monkeypatch.setattr("pairjepa.evaluation.evaluate.evaluate", lambda *_, **__: group)
    monkeypatch.setattr(
        "pairjepa.evaluation.tables.seeds_table", lambda r: f"table of {len(r['seeds'])} seeds"
    )
    assert main(["evaluate", "RUN"]) == 0
    out, err = capsys.readouterr()
    assert out == "table of 2 seeds\n\nof all\n\nseed 0: note 0\n\nseed 1: note 1\n"
    assert "wrote RUN/seed-*/evaluation, RUN/seed-*/embeddings, RUN/seed-*/illustrations\n" in err
    assert main(["evaluate", "RUN", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == group


@pytest.mark.parametrize(
    ("baselines", "following"), [({"pretrained": {}}, ["next: pairjepa compare RUN"]), ({}, [])]
)
def test_other_pairs_are_not_those_of_the_report(
    baselines: dict[str, Any],
    following: list[str],
    calls: list[SimpleNamespace],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measured = RESULT | {"data": {"other": True}, "baselines": baselines}
    monkeypatch.setattr("pairjepa.evaluation.evaluate.evaluate", lambda *_, **__: measured)
    assert main(["evaluate", "RUN", "--data", "OTHER"]) == 0
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("next")] == following


@pytest.mark.parametrize(
    ("command", "following"),
    [
        (["inspect", "my data"], "next: pairjepa train contrastive --data 'my data'\n"),
        (
            ["inspect", "DATA", "--data.caption-column", "a", "b", "--data.no-header", "--model.text", "TXT"],
            "next: pairjepa train contrastive --data DATA --data.caption-column a b --data.no-header --model.text TXT",
        ),
        (
            ["inspect", "DATA", "--data.image-column", "file", "--model.pair", "CLIP"],
            "next: pairjepa train adapt --data DATA --data.image-column file --model.pair CLIP\n",
        ),
        (["inspect", "DATA", "--data.no-drop-leaks"], "next: pairjepa train contrastive --data DATA\n"),
        (["train", "contrastive", *RUN_FLAGS], "wrote RUN\nnext: pairjepa evaluate RUN --split test\n"),
        (["evaluate", "RUN", "--split", "dev"], "next: pairjepa evaluate RUN --split test\n"),
        (["evaluate", "RUN"], "next: pairjepa report RUN --out report.html\n"),
        (
            ["evaluate", "RUN", "--split", "val", "--data", "OTHER", "--data.images", "photos"],
            "next: pairjepa evaluate RUN --data OTHER --data.images photos --split test\n",
        ),
        (
            ["evaluate", "--model.pair", "CLIP", "--data", "DATA", "--data.caption-column", "words"],
            "next: pairjepa train adapt --data DATA --data.caption-column words --model.pair CLIP --run",
        ),
        (
            ["audit", "RUN", "DATA", "--out", "OUT", "--data.image-column", "file"],
            "next: pairjepa inspect DATA --data.image-column file\n",
        ),
    ],
)
def test_a_command_ends_with_what_to_run_next(
    command: list[str], following: str, calls: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]
) -> None:
    main(command)
    assert following in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["trian"], 'Unknown command "trian". Did you mean "train"?'),
        (["train", "contrastiv"], "Unknown recipe 'contrastiv'. Did you mean 'contrastive'"),
        (["train", "nosuch", "--run", "RUN"], "Unknown recipe 'nosuch'. Known: adapt, adapt-masked"),
        (["train", "--run", "RUN", "contrastive"], "The recipe must come first, got '--run'."),
        (["train", "tiny", *RUN_FLAGS, "--model.dmi", "3"], "Did you mean --model.dim?"),
        (["train", "tiny", *RUN_FLAGS, "--model.dim", "wide"], 'unable to convert "wide" into int'),
        (["train", "tiny", *RUN_FLAGS, "--model.predictor.kind", "mpl"], 'Did you mean "mlp"?'),
        (
            ["train", "tiny", *RUN_FLAGS, "--training.epochs", "0"],
            "training.epochs must be at least 1, got 0.",
        ),
        (["train", "tiny", *RUN_FLAGS, "more"], "more"),
        (["inspect"], "inspect must be given DATA, got none. It is explained by: pairjepa inspect --help."),
        (["embed", "RUN", "photos"], "embed must be given --out, got none."),
        (["embed", "RUN", "photos", "--out"], "--out requires an argument"),
        (["train", "adapt", "--data", "x", "--pair", "y"], "Did you mean --model.pair instead of --pair?"),
        (
            ["label", "--model.pair", "PAIR", "photos"],
            "in the place of RUN, got --model.pair: pairjepa label",
        ),
        (["inspect", "DATA", "--data.pairs", "1"], "data.pairs must be at least 2, got 1."),
        (["evaluate", "RUN", "--relevance", "words"], 'Choose from: "owner", "text"'),
    ],
)
def test_a_mistaken_command_is_told_so_and_does_nothing(
    command: list[str], message: str, calls: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: ")
    assert message in err
    assert not out
    assert not calls


INTERRUPTED = "interrupted; run the same command again to go on\n"
AS_A_CLASS_IS_MADE = RuntimeError("Error calling __set_name__ on 'Field' instance 'name'")
AS_A_CLASS_IS_MADE.__cause__ = KeyboardInterrupt()


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (PairJEPAError("RUN is no run folder."), 1, "error: RUN is no run folder.\n"),
        (UsageError("split must be one of train."), 2, "error: split must be one of train.\n"),
        (PermissionError(13, "Permission denied", "RUN"), 1, "error: [Errno 13] Permission denied: 'RUN'\n"),
        (KeyboardInterrupt(), 130, INTERRUPTED),
        (AS_A_CLASS_IS_MADE, 130, INTERRUPTED),
    ],
)
def test_how_it_ends(
    error: BaseException,
    status: int,
    message: str,
    calls: list[SimpleNamespace],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("pairjepa.evaluation.evaluate.evaluate", fail)
    assert main(["evaluate", "RUN", "--json"]) == status
    assert capsys.readouterr() == ("", message)


def test_an_interruption_while_it_is_imported_shows_no_trace_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "pairjepa.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "pairjepa.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert started() == 130
    assert capsys.readouterr() == ("", INTERRUPTED)


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )


HEAVY = "{'torch', 'transformers', 'numpy', 'pyarrow', 'scipy', 'PIL', 'datasets'}"


@pytest.mark.parametrize(
    "code",
    [
        "import pairjepa; pairjepa.RunConfig; pairjepa.recipe('tiny')",
        "import pairjepa.cli; pairjepa.cli.main(['--help'])",
        "import pairjepa.cli; pairjepa.cli.main(['train', 'tiny', '--help'])",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str) -> None:
    done = python(f"{code}; import sys; heavy = {HEAVY} & set(sys.modules); assert not heavy, heavy")
    assert done.returncode == 0, done.stderr


def test_a_reader_that_goes_away_is_told_nothing() -> None:
    done = python(
        "import os, sys, types, pairjepa.cli as cli\n"
        "report = lambda *_, **__: {'images': 3, 'splits': {}}\n"
        "sys.modules['pairjepa.apps.inspect'] = types.SimpleNamespace(inspect=report)\n"
        "reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1)\n"
        "sys.exit(cli.main(['inspect', 'DATA', '--json']))"
    )
    assert done.returncode == 1
    assert "Broken pipe" not in done.stderr
    assert "Traceback" not in done.stderr


def test_python_dash_m_is_the_command() -> None:
    command = [sys.executable, "-m", "pairjepa", "train", "nosuch"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: Unknown recipe")


def test_the_package_offers_its_names_and_no_others() -> None:
    assert set(pairjepa.__all__) <= set(dir(pairjepa))
    assert pairjepa.recipe is recipe
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        _ = pairjepa.nosuch
