#!/usr/bin/env bash
# pytorch-ignite 0.5.5: the momentum of an EMAHandler is warmed up only if its name is "ema_momentum"; its buffers are shared.
#
# Guessed: `EMAHandler(model, momentum=0.01, momentum_warmup=0.5, warmup_iters=10).attach(engine, name="image")` goes from 0.5
# to 0.01 in `engine.state.image`; `handle_buffers="copy"`, the default, copies the buffers of the model.
# Seen: the warm-up moves `engine.state.ema_momentum`, whatever the name is; "image" stays at 0.01 from the first step on.
# With two handlers (as the documentation has them) neither is warmed up. And "copy" hands over the storage: from the
# first update on the average's BatchNorm is the model's. It moves between the updates, too, and to load a saved average
# into `ema_model` changes what the online model gives. Nothing is said.
# Where it matters: two towers with a target each; going back to the best average in the middle of a run.
# Way round: the name "ema_momentum"; `handle_buffers="update"`, or clone the buffers.
. "$(dirname "$0")/_setup.sh"
install pytorch-ignite==0.5.5 torch==2.13.0 numpy==2.4.6
run <<'PY'
import copy
import sys
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler


def warmup(name):
    model = torch.nn.Linear(2, 1)
    handler = EMAHandler(model, momentum=0.01, momentum_warmup=0.5, warmup_iters=10)
    engine, seen = Engine(lambda engine, batch: None), []
    handler.attach(engine, name=name)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(round(getattr(e.state, name), 3)))
    engine.run(range(12), max_epochs=1)
    print(f"{name}: {seen}")
    return seen


named, other = warmup("ema_momentum"), warmup("image")

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
handler = EMAHandler(model, momentum=0.01)
engine = Engine(lambda engine, batch: model(batch))
handler.attach(engine, event=Events.ITERATION_COMPLETED(every=5))
batches = [torch.randn(16, 4) + step for step in range(9)]
engine.run(batches[:5], max_epochs=1)
saved = copy.deepcopy(handler.ema_model.state_dict())
engine.run(batches[5:], max_epochs=1)
moved = (handler.ema_model[1].running_mean - saved["1.running_mean"]).abs().max().item()
model.eval()
before = model(batches[0])
handler.ema_model.load_state_dict(saved)
changed = (model(batches[0]) - before).abs().max().item()
print(f"the average's running mean, four steps after its last update: moved by {moved:.2f}")
print(f"outputs of the online model after a saved average was loaded into `ema_model`: changed by {changed:.2f}")
as_described = named[0] == 0.5 and named[-1] == 0.01 and named[4] > 0.2 and set(other) == {0.01}
as_described = as_described and moved > 0.2 and changed > 0.1
sys.exit(0 if as_described else "changed: this is no longer what ignite does")
PY
