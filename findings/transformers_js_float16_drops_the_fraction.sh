#!/usr/bin/env bash
# @huggingface/transformers 4.3.2 (JavaScript, Node.js 20): `to('float16')` keeps whole numbers, and reading them back
# gives others.
#
# Guessed: half precision keeps about three digits: 0.1 becomes 0.09998, 70,000 infinite, and `to('float32')` after it
# is nearly the tensor from before.
# Seen: where JavaScript has no `Float16Array` (Node.js 20 and 22), numbers are cut to unsigned 16-bit integers in place
# of being encoded: 0.1 and 0.5 are 0, -1.7 is 65535. `to('float32')` then does decode bits: 1 comes back as 6e-8, -1.7
# as NaN. Halves that a model gives are decoded right, so only one way of the two is there. A normalised
# embedding, or a picture scaled to 0..1, is zeros. Nothing is said.
# Where it matters: feeding an encoder whose inputs are float16; storing embeddings at half of the size in a browser or
# server that is older than `Float16Array`.
# Way round: a newer engine, or inputs of float32 (files with float32 inputs and float16 weights).
. "$(dirname "$0")/_setup.sh"
install_js @huggingface/transformers@4.3.2
run_js <<'JS'
import { Tensor } from '@huggingface/transformers';

const tensor = (numbers) => new Tensor('float32', Float32Array.from(numbers), [numbers.length]);
const rows = {
    numbers: tensor([0.1, 0.5, -1.7, 1, 3]),
    'unit embedding': tensor([0.6, 0.64, -0.48]),
};
const back = {};
for (const [name, row] of Object.entries(rows)) {
    const half = row.to('float16');
    back[name] = half.to('float32').tolist();
    console.log(`${name}: ${row.tolist().map((x) => x.toFixed(2))}`);
    console.log(`  float16: ${[...half.data]} (${half.data.constructor.name}); float32 again: ${back[name]}`);
}
const bits = new Tensor('float16', Uint16Array.from([0x3c00, 0x3800, 0xbc00]), [3]);
const decoded = bits.to('float32').tolist();
console.log(`float16 numbers 1, 0.5, -1 of a model: ${decoded}`);
const [tenth, half, negative, one] = back.numbers;
const asDescribed = tenth === 0 && half === 0 && Number.isNaN(negative) && one > 0 && one < 1e-7;
const unit = back['unit embedding'].slice(0, 2).every((x) => x === 0);
if (!asDescribed || !unit || decoded.join() !== '1,0.5,-1') {
    console.error('changed: this is no longer what transformers.js does (or Node.js has Float16Array)');
    process.exit(1);
}
JS
