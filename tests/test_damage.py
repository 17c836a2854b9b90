"""Artefacts that are damaged are never used in silence: the quick version of `benchmarks/damage.py`, without graphs."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_no_damage_is_silent_and_none_is_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("PAIRJEPA_CACHE", str(tmp_path))  # which the benchmark sets
    import damage

    rows, bad = damage.table(damage.Bench(tmp_path, exports=()), quick=True)
    assert len(rows) > 15
    assert bad == 0, [row for row in rows if set(row) & set(damage.BAD)]
