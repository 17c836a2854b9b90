#!/usr/bin/env bash
# torch 2.13.0: `load_state_dict(..., assign=True)` makes two parameters of one weight that two layers share.
#
# Guessed: layers that share a weight share it after loading, as with `assign=False`: the same values are loaded.
# Seen: each name gets a parameter of its own. If the file holds the tensor once (as torch.save does), both lie in one
# memory: outputs are right, but an optimizer has it twice, and a step of Adam is twice as long, or none where the two
# gradients point apart. If the file holds it twice, training moves the layers apart. All keys are said to match.
# Where it matters: towers with a shared projection, tied embeddings; `assign=True` is how a model from the "meta"
# device is loaded.
# Way round: tie the layers again after loading, before the optimizer is made.
. "$(dirname "$0")/_setup.sh"
install torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch


class Towers(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.text = torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 4, bias=False)
        self.text.weight = self.image.weight


torch.manual_seed(0)
source = Towers()
torch.save(source.state_dict(), "once.pt")
torch.save({name: tensor.clone() for name, tensor in source.state_dict().items()}, "twice.pt")
inputs = torch.ones(1, 4)
seen = {}
for name, file, assign in (
    ("copied", "once.pt", False),
    ("copied, held twice", "twice.pt", False),
    ("assigned", "once.pt", True),
    ("assigned, held twice", "twice.pt", True),
):
    for text_part in (1.0, -0.5):
        model = Towers()
        told = str(model.load_state_dict(torch.load(file), assign=assign))
        right = all(torch.equal(tower(inputs), source.image(inputs)) for tower in (model.image, model.text))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        (model.image(inputs) + text_part * model.text(inputs)).sum().backward()
        optimizer.step()
        moved = [(tower.weight - source.image.weight).mean().item() for tower in (model.image, model.text)]
        steps = [round(step, 2) + 0.0 for step in moved]
        count = len(list(model.parameters()))
        seen[name, text_part] = count, steps, right, told
        print(f"{name}: {count} parameters, outputs right {right}, {told}")
        print(f"  a step for image {text_part:+} text moves the weights by {steps}")
moves = {case: (count, steps) for case, (count, steps, *_) in seen.items()}
as_described = all(right and "All keys matched" in told for *_, right, told in seen.values()) and moves == {
    ("copied", 1.0): (1, [-0.1, -0.1]),
    ("copied", -0.5): (1, [-0.1, -0.1]),
    ("copied, held twice", 1.0): (1, [-0.1, -0.1]),
    ("copied, held twice", -0.5): (1, [-0.1, -0.1]),
    ("assigned", 1.0): (2, [-0.2, -0.2]),
    ("assigned", -0.5): (2, [0.0, 0.0]),
    ("assigned, held twice", 1.0): (2, [-0.1, -0.1]),
    ("assigned, held twice", -0.5): (2, [-0.1, 0.1]),
}
sys.exit(0 if as_described else "changed: this is no longer what torch does")
PY
