#!/usr/bin/env bash
# datasets 5.2.0: `stream.skip(100)` skips other rows with two workers than with none: `take(100)` is not held out.
#
# Guessed: `dev = stream.take(100)` and `train = stream.skip(100)` share no row, however each of them is read.
# Seen (1,000 rows in 4 shards): with workers each one takes or skips its share of the 100, at the start of its own
# shards. dev read without workers and train with two: 50 of the 100 held-out rows are trained on, and 50 other rows are
# in neither. With four workers it is 75. The same number on both sides gives 0, and so it looks right in a small test.
# `split_dataset_by_node` on two or four processes does the same. Lengths are 100 and 900 each time: no count shows it.
# Where it matters: streams of captions, evaluated in the main process and trained on with workers.
# Way round: hold out by a hash of the image in `filter`, or whole files.
. "$(dirname "$0")/_setup.sh"
install datasets==5.2.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
from datasets import Dataset
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader

stream = Dataset.from_dict({"row": list(range(1000))}).to_iterable_dataset(num_shards=4)
dev, train = stream.take(100), stream.skip(100)


def rows(data, workers):
    return [row for batch in DataLoader(data, batch_size=50, num_workers=workers) for row in batch["row"].tolist()]


seen = {}
for dev_workers, train_workers in ((0, 0), (0, 2), (0, 4), (2, 2), (2, 0)):
    a, b = rows(dev, dev_workers), rows(train, train_workers)
    seen[dev_workers, train_workers] = len(a), len(b), len(set(a) & set(b)), 1000 - len({*a, *b})
    print(
        f"workers for dev {dev_workers}, for train {train_workers}: {len(a)} and {len(b)} rows, "
        f"{seen[dev_workers, train_workers][2]} in both, {seen[dev_workers, train_workers][3]} in neither"
    )
held_out = set(rows(dev, 0))
by_process = {}
for processes in (2, 4):
    trained = [row for p in range(processes) for row in rows(split_dataset_by_node(train, p, processes), 0)]
    by_process[processes] = len(held_out & set(trained))
    print(f"dev on one process, train on {processes}: {by_process[processes]} in both")
as_described = (
    seen == {(a, b): (100, 900, n, n) for (a, b), n in zip(seen, (0, 50, 75, 0, 50))} and by_process == {2: 50, 4: 75}
)
sys.exit(0 if as_described else "changed: this is no longer what datasets does")
PY
