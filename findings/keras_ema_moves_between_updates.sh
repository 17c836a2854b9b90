#!/usr/bin/env bash
# keras 3.15.1: with gradient accumulation the average of the weights moves with each small batch, not with each update.
#
# Guessed: accumulating 8 batches is one step of a batch that is 8 times as large: the same weights, the same average.
# `optimizer.iterations` counts updates, and so does `ema_overwrite_frequency`, as the documentation says.
# Seen: weights and count are the same, but the average takes in the unchanged weights 8 times before each update:
# `ema_momentum=0.99` works as 0.99 ** 8 = 0.92 there. After 30 updates by 1 the average is 18.4 in place of 5.0. So
# `finalize_variable_values` and every overwrite take another average than the same training without accumulation.
# Nothing is said.
# Where it matters: contrastive training in which the average is what is kept, on smaller and on larger machines.
# Way round: `ema_momentum ** (1 / gradient_accumulation_steps)` as the momentum.
. "$(dirname "$0")/_setup.sh"
install keras==3.15.1 torch==2.13.0 numpy==2.4.6
export KERAS_BACKEND=torch
run <<'PY'
import sys
import keras
from keras import ops


def train(small_batches, momentum):
    accumulated = small_batches if small_batches > 1 else None
    optimizer = keras.optimizers.SGD(
        1.0, use_ema=True, ema_momentum=momentum, gradient_accumulation_steps=accumulated
    )
    weight = keras.Variable([0.0])
    optimizer.build([weight])
    for _ in range(30 * small_batches):
        optimizer.apply([ops.convert_to_tensor([-1.0])], [weight])
    values = float(weight[0]), int(optimizer.iterations)
    optimizer.finalize_variable_values([weight])
    return *values, float(weight[0])


results = {}
for name, small_batches, momentum in (
    ("one batch a step", 1, 0.99),
    ("8 small batches a step", 8, 0.99),
    ("8, momentum 0.99 ** (1 / 8)", 8, 0.99 ** (1 / 8)),
):
    weight, count, average = results[name] = train(small_batches, momentum)
    print(f"{name}: weight {weight:.0f} after {count} updates, average {average:.2f}")
(weight, count, average), (weight_8, count_8, average_8), (_, _, average_root) = results.values()
as_described = weight == weight_8 == count == count_8 == 30 and average_8 - average > 5
as_described &= abs(average_root - average) < 1
sys.exit(0 if as_described else "changed: this is no longer what Keras does")
PY
