#!/usr/bin/env bash
# huggingface_hub 2.4.0: a model card with results on a test and a dev split comes back with both named "test".
#
# Guessed: every EvalResult keeps its `dataset_name` when the card is written and read.
# Seen: results are put together by task, dataset type, config, split and revision; the name is not looked at, and the
# group takes the first one's. Two results of type "flickr8k", named "Flickr8k test" and "Flickr8k dev", both become
# "Flickr8k test": a dev score is published as a test score. With `dataset_split` given they stay apart.
. "$(dirname "$0")/_setup.sh"
install huggingface_hub==2.4.0
run <<'PY'
import sys
from huggingface_hub import EvalResult, ModelCard, ModelCardData


def read_back(**split):
    results = [
        EvalResult(
            task_type="image-text-retrieval", dataset_type="flickr8k", dataset_name=f"Flickr8k {part}",
            metric_type="recall", metric_name="R@1", metric_value=value, **{k: part for k in split},
        )
        for part, value in (("test", 36.0), ("dev", 40.0))
    ]
    data = ModelCardData(model_name="pairs", eval_results=results)
    ModelCard(f"---\n{data.to_yaml()}\n---\n# pairs\n").save("README.md")
    return [(r.dataset_name, r.metric_value) for r in ModelCard.load("README.md").data.eval_results]


without, with_split = read_back(), read_back(dataset_split=True)
print("named only:      ", without)
print("and with a split:", with_split)
as_described = without == [("Flickr8k test", 36.0), ("Flickr8k test", 40.0)] and ("Flickr8k dev", 40.0) in with_split
sys.exit(0 if as_described else "changed: this is no longer what huggingface_hub does")
PY
