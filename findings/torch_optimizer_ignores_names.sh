#!/usr/bin/env bash
# torch 2.13.0: an optimizer with named parameters gives one tower's momentum to the other, and takes over the wrong names.
#
# Guessed: `AdamW(model.named_parameters())` saves the names, so that loading matches by name, or raises if they differ.
# Seen: loading goes by place. If the towers come in another order, as after a new attribute in the model, the image
# tower continues with the text tower's moments where the shapes agree. The names in the checkpoint replace those of
# the optimizer, so the next checkpoint calls the text tower's numbers the image tower's. Nothing is said.
# Where it matters: resuming two towers of one width; parameters that are sorted or grouped in another way.
# Way round: compare `param_names` with the checkpoint's before loading, in a `register_load_state_dict_pre_hook`.
. "$(dirname "$0")/_setup.sh"
install torch==2.13.0 numpy==2.4.6
run <<'PY'
import sys
import torch

image, text = torch.nn.Parameter(torch.zeros(4, 4)), torch.nn.Parameter(torch.zeros(4, 4))
optimizer = torch.optim.AdamW([("image", image), ("text", text)])
image.grad, text.grad = torch.full((4, 4), 1.0), torch.full((4, 4), 100.0)
optimizer.step()
resumed = torch.optim.AdamW([("text", text), ("image", image)])
before = list(resumed.param_groups[0]["param_names"])
resumed.load_state_dict(optimizer.state_dict())
names = list(resumed.param_groups[0]["param_names"])
momentum = {
    name: [one.state[parameter]["exp_avg"].mean().item() for one in (optimizer, resumed)]
    for name, parameter in (("image", image), ("text", text))
}
for name, (saved, loaded) in momentum.items():
    print(f"{name}: momentum {saved:.2f} when saved, {loaded:.2f} after loading")
same = [a is b for a, b in zip(resumed.param_groups[0]["params"], (text, image))]
print(f"names before loading {before}, after {names}; the parameters are still text, image: {all(same)}")
as_described = (
    momentum["image"][::-1] == momentum["text"] and before == ["text", "image"] and names == ["image", "text"] and all(same)
)
sys.exit(0 if as_described else "changed: this is no longer what torch does")
PY
