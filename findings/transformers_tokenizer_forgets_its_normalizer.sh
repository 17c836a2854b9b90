#!/usr/bin/env bash
# transformers 5.24.0: a saved tokenizer loads without its own normalizer, pre-tokenizer and post-processor.
#
# Guessed: tokenizer.json holds the whole tokenizer, so `from_pretrained` of a saved folder gives what was saved.
# Seen: if the class is one of a model (BertTokenizer, RobertaTokenizer, CLIPTokenizer, T5Tokenizer ...), only the words
# and merges are read from the file; normalizer, pre-tokenizer and post-processor are those of the class. A cased BERT
# tokenizer reads everything in lower case; a byte-level one that was trained on lower case meets capitals it has no
# word for; a second end token is gone. `PreTrainedTokenizerFast` and `tokenizers.Tokenizer` read the file as it is, so
# that a program in Rust, JavaScript or ONNX beside it gets other ids from one folder. Nothing is said.
# Where it matters: tokenizers of other languages or domains that name a known class; each `AutoTokenizer`.
# Way round: `PreTrainedTokenizerFast.from_pretrained(folder)`, or "tokenizer_class": "TokenizersBackend" in
# tokenizer_config.json.
. "$(dirname "$0")/_setup.sh"
install transformers==5.24.0 tokenizers==0.23.3 numpy==2.4.6
run <<'PY'
import sys
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast, RobertaTokenizer

words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "A", "dog", "Dog", "runs"]
bert = BertTokenizer(vocab={word: i for i, word in enumerate(words)})
bert.backend_tokenizer.normalizer = normalizers.NFC()
special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
roberta = RobertaTokenizer(vocab={word: i for i, word in enumerate(special + letters)}, merges=[])
roberta.backend_tokenizer.normalizer = normalizers.Lowercase()
roberta = roberta.train_new_from_iterator(["a dog runs on the beach"] * 9, 300)
ends = [("<s>", 0), ("</s>", 2)]
roberta.backend_tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s> </s>", special_tokens=ends)
caption, as_described = "A Dog runs", True
for name, tokenizer in {"bert": bert, "roberta": roberta}.items():
    tokenizer.save_pretrained(name)
    readers = {
        "saved": tokenizer,
        "AutoTokenizer": AutoTokenizer.from_pretrained(name),
        type(tokenizer).__name__: type(tokenizer).from_pretrained(name),
        "PreTrainedTokenizerFast": PreTrainedTokenizerFast.from_pretrained(name),
    }
    tokens = {key: reader.convert_ids_to_tokens(reader(caption).input_ids) for key, reader in readers.items()}
    tokens["tokenizers.Tokenizer"] = Tokenizer.from_file(f"{name}/tokenizer.json").encode(caption).tokens
    for key, value in tokens.items():
        print(f"{name}, {key}: {' '.join(value)}")
    same = [key for key, value in tokens.items() if value == tokens["saved"]]
    as_described &= same == ["saved", "PreTrainedTokenizerFast", "tokenizers.Tokenizer"]
sys.exit(0 if as_described else "changed: this is no longer what transformers does")
PY
