#!/usr/bin/env bash
# transformers 5.24.0, Trainer: a column "labels" beside CLIP's inputs makes the gradient of 4 accumulated batches 4 times
# as large.
#
# Guessed: with `gradient_accumulation_steps=4` the loss is the mean over the four batches; a column that CLIP does not
# know changes nothing.
# Seen: if a batch has "labels", Trainer counts them and leaves the division to the model, as language models do it. CLIP's
# forward takes any further argument, so it counts as such a model; it ignores labels and the count, and nobody divides.
# Four equal batches give four times the gradient and four times the logged loss; without the column they give the
# same as one batch. The evaluation loss is as ever. Nothing is said.
# Where it matters: image-text data with class numbers in "labels"; a learning rate that was tuned without accumulation.
# Way round: another name for the column, or leave it out in the collator.
. "$(dirname "$0")/_setup.sh"
install transformers==5.24.0 accelerate==1.15.0 torch==2.13.0 numpy==2.4.6
run <<'PY'
import contextlib, copy, io, sys
import torch
from transformers import CLIPConfig, CLIPModel, Trainer, TrainingArguments, logging

logging.set_verbosity_error()
tower = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
text = dict(tower, vocab_size=50, max_position_embeddings=16, bos_token_id=48, eos_token_id=49)
torch.manual_seed(0)
clip = CLIPModel(CLIPConfig(text_config=text, vision_config=dict(tower, image_size=32, patch_size=16), projection_dim=8))
batch = dict(input_ids=torch.tensor([[3, 5, 49], [3, 7, 49]]), pixel_values=torch.randn(2, 3, 32, 32), return_loss=True)
options = dict(
    output_dir="run", max_steps=1, per_device_train_batch_size=2, learning_rate=1e-3, optim="sgd", max_grad_norm=0.0,
    lr_scheduler_type="constant", use_cpu=True, report_to=[], save_strategy="no", disable_tqdm=True,
    remove_unused_columns=False,
)
seen = {}
for column in ({}, {"labels": torch.tensor([0, 1])}):
    for steps in (1, 4):
        model = copy.deepcopy(clip)
        trainer = Trainer(
            model=model, args=TrainingArguments(gradient_accumulation_steps=steps, **options),
            train_dataset=list(range(8)), data_collator=lambda rows: dict(batch, **column),
        )
        with contextlib.redirect_stdout(io.StringIO()):
            loss = trainer.train().training_loss
        moved = (model.visual_projection.weight - clip.visual_projection.weight).norm().item()
        seen[bool(column), steps] = loss, moved
        print(f"columns {[*batch, *column]}, {steps} accumulated: loss {loss:.3f}, the projection moved by {moved:.5f}")
(loss, moved), same, alone, more = seen.values()
as_described = (
    all(abs(a / loss - 1) < 0.01 and abs(b / moved - 1) < 0.01 for a, b in (same, alone))
    and abs(more[0] / loss - 4) < 0.05
    and abs(more[1] / moved - 4) < 0.05
)
sys.exit(0 if as_described else "changed: this is no longer what Trainer does")
PY
