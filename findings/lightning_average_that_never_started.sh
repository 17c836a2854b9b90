#!/usr/bin/env bash
# lightning 2.6.6: a fit that ends before `update_starting_at_step` of EMAWeightAveraging gives back the untrained weights.
#
# Guessed: until the averaging starts the model is validated, saved and returned as it is trained; a callback that was
# used in one fit begins anew in the next.
# Seen: the average is a copy of the first weights until its first update. It is swapped in for validation and written
# over the model when the fit ends, started or not: of 12 steps with a start at 100 nothing is left, every validation is
# that of the first weights, and the checkpoint's "state_dict" holds them. The callback also remembers the last step of
# a fit: in a second fit with a new Trainer and the same callback nothing is averaged before that step has passed, so
# that a second fit of the same length undoes itself. Nothing is said.
# Where it matters: short trial runs with a full run's settings, early stopping, folds and seeds in a loop.
# Way round: a new callback for each fit, and a start that is reached; "current_model_state" of the checkpoint is trained.
. "$(dirname "$0")/_setup.sh"
install lightning==2.6.6 torch==2.13.0 numpy==2.4.6
run <<'PY'
import logging
import sys
import lightning as L
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
torch.manual_seed(0)
inputs = torch.randn(64, 8)
data = torch.utils.data.TensorDataset(inputs, inputs @ torch.randn(8, 1))


class Model(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer, self.losses = torch.nn.Linear(8, 1), []

    def training_step(self, batch, _):
        return torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.losses.append(round(torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1]).item(), 3))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(name, *callbacks):
    torch.manual_seed(1)
    model = Model()
    first = model.layer.weight.detach().clone()
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    trainer = L.Trainer(max_epochs=3, callbacks=list(callbacks), accelerator="cpu", num_sanity_val_steps=0, **quiet)
    train, valid = (torch.utils.data.DataLoader(data, size) for size in (16, 64))
    trainer.fit(model, train, valid)
    change = (model.layer.weight - first).abs().max().item()
    print(f"{name}: change of the weights {change:.3f}, losses in validation {model.losses}")
    return change, model.losses


plain, _ = fit("no average")
late, losses = fit("average from step 100 on", EMAWeightAveraging(decay=0.5, update_starting_at_step=100))
callback = EMAWeightAveraging(decay=0.5)
first, _ = fit("average from the start", callback)
second, _ = fit("the same callback again", callback)
as_described = plain > 0.1 and late == 0 and len(set(losses)) == 1 and first > 0.1 and second == 0
sys.exit(0 if as_described else "changed: this is no longer what lightning does")
PY
