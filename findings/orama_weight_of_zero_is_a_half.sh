#!/usr/bin/env bash
# @orama/orama 3.1.18 (JavaScript, Node.js 20): a hybrid search with the weights 0 and 1 has the weights 0.5 and 0.5.
#
# Guessed: `hybridWeights: { text: 0, vector: 1 }` is the vector search, `{ text: 1, vector: 0 }` the text search; in
# between the order changes step by step.
# Seen: a weight of 0 counts as no weight, and then both weights are thrown away for the default of a half each. With
# 0.000001 in place of 0 the result is the expected one. So a sweep over weights has the same list at both of its ends,
# and switching one side off switches both on. Nothing is said.
# Where it matters: tuning image-and-caption search; a slider from "words" to "picture".
# Way round: a tiny weight, or `mode: 'vector'` and `mode: 'fulltext'`.
. "$(dirname "$0")/_setup.sh"
install_js @orama/orama@3.1.18
run_js <<'JS'
import { create, insert, search } from '@orama/orama';

let seed = 1;
const random = () => ((seed = (seed * 16807) % 2147483647) / 2147483647) - 0.5;
const rows = Array.from({ length: 60 }, () => Array.from({ length: 8 }, random));
const base = create({ schema: { caption: 'string', picture: 'vector[8]' } });
rows.forEach((picture, i) => insert(base, { id: `${i}`, caption: i % 2 ? 'a dog runs' : 'a cat sits', picture }));
const query = { term: 'dog', vector: { value: rows[8], property: 'picture' }, similarity: -1, limit: 5 };
const found = (options) =>
    search(base, { ...query, ...options }).hits.map((hit) => `${hit.id} (${hit.score.toFixed(2)})`).join(', ');
const seen = { 'vector search': found({ mode: 'vector' }) };
for (const text of [0, 0.000001, 0.5, 0.999999, 1]) {
    seen[`text ${text}`] = found({ mode: 'hybrid', hybridWeights: { text, vector: 1 - text } });
}
for (const [name, list] of Object.entries(seen)) console.log(`${name}: ${list}`);
const asDescribed = seen['text 0'] === seen['text 0.5'] && seen['text 1'] === seen['text 0.5'];
const tiny = seen['text 0.000001'] === seen['vector search'] && seen['text 0'] !== seen['vector search'];
if (!asDescribed || !tiny || seen['text 0.999999'] === seen['text 1']) {
    console.error('changed: this is no longer what Orama does');
    process.exit(1);
}
JS
