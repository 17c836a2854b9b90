#!/usr/bin/env bash
# accelerate 1.15.0: `gather_for_metrics` of 10 pictures and their 50 captions returns 10 pictures and 42 captions.
#
# Guessed: it removes what was added to make the last batch even; on one process nothing was added, so nothing goes.
# Seen: in the last batch every tensor is cut to as many rows as the batch has samples. With five captions a picture,
# a last batch of 2 pictures keeps 2 of its 10 caption embeddings. One process is enough, and nothing is said. Whether
# it happens depends on the batch size: with one that divides the number of pictures all 50 come back.
# Where it matters: image-text retrieval, where the two sides of a batch differ in length. Recall is then measured on a
# smaller gallery, and rows and captions no longer line up.
# Way round: gather with the shape (pictures, captions a picture, width), and flatten afterwards.
. "$(dirname "$0")/_setup.sh"
install accelerate==1.15.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch
from accelerate import Accelerator

accelerator = Accelerator(cpu=True)
counts = {}
for size in (5, 4, 3):
    pictures, captions, shaped = [], [], []
    for numbers in accelerator.prepare(torch.utils.data.DataLoader(torch.arange(10), batch_size=size)):
        rows = numbers.repeat_interleave(5)
        one, two, three = accelerator.gather_for_metrics((numbers, rows, rows.view(-1, 5)))
        pictures.append(one), captions.append(two), shaped.append(three.flatten())
    counts[size] = tuple(len(torch.cat(parts)) for parts in (pictures, captions, shaped))
    print(f"batches of {size}: {counts[size][0]} pictures, {counts[size][1]} captions, by picture {counts[size][2]}")
as_described = counts == {5: (10, 50, 50), 4: (10, 42, 50), 3: (10, 46, 50)}
sys.exit(0 if as_described else "changed: this is no longer what accelerate does")
PY
