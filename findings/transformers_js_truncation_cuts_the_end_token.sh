#!/usr/bin/env bash
# @huggingface/transformers 4.3.2 (JavaScript, Node.js 20): truncation cuts the end token off a long caption.
#
# Guessed: as in Python, `truncation: true` shortens the words and leaves room for the special tokens: every row begins
# with <s> and ends with </s>.
# Seen: the row is built with its special tokens first and cut to its first `max_length` ids then. A caption that is too
# long has no </s>; a short one has. With the same tokenizer.json Python keeps it. Nothing is said.
# Where it matters: CLIP reads a caption at its end token and SigLIP at the last position: the embedding of a long
# caption is read where no end token stands. An index that was built in Python does not fit queries of the browser.
# Way round: tokenize with `add_special_tokens: false`, cut to `max_length` - 2, and add the two ids by hand.
. "$(dirname "$0")/_setup.sh"
install_js @huggingface/transformers@4.3.2
mkdir -p "$folder/models/tiny"
cat >"$folder/models/tiny/tokenizer.json" <<'JSON'
{"version": "1.0", "truncation": null, "padding": null,
 "added_tokens": [
  {"id": 0, "content": "<s>", "special": true, "single_word": false, "lstrip": false, "rstrip": false,
   "normalized": false},
  {"id": 1, "content": "</s>", "special": true, "single_word": false, "lstrip": false, "rstrip": false,
   "normalized": false}],
 "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": null,
 "post_processor": {"type": "TemplateProcessing",
  "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
             {"SpecialToken": {"id": "</s>", "type_id": 0}}],
  "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
  "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]},
                     "</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
 "model": {"type": "WordLevel", "unk_token": "a",
  "vocab": {"<s>": 0, "</s>": 1, "a": 2, "dog": 3, "runs": 4, "on": 5, "the": 6, "beach": 7}}}
JSON
cat >"$folder/models/tiny/tokenizer_config.json" <<'JSON'
{"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 6, "bos_token": "<s>", "eos_token": "</s>",
 "pad_token": "</s>"}
JSON
run_js <<'JS'
import { AutoTokenizer, env } from '@huggingface/transformers';

env.allowRemoteModels = false;
env.localModelPath = './models/';
const tokenizer = await AutoTokenizer.from_pretrained('tiny');
const captions = ['a dog runs', 'a dog runs on the beach'];
const { input_ids } = tokenizer(captions, { padding: 'max_length', truncation: true });
const rows = input_ids.tolist().map((row) => row.map(Number));
captions.forEach((caption, i) => {
    console.log(`${caption}: ${rows[i]}, end token ${rows[i].includes(1) ? 'kept' : 'lost'}`);
});
console.log('Python: 0,2,3,4,5,1 for the second one');
const asDescribed = `${rows[0]}` === '0,2,3,4,1,1' && `${rows[1]}` === '0,2,3,4,5,6';
if (!asDescribed) {
    console.error('changed: this is no longer what transformers.js does');
    process.exit(1);
}
JS
