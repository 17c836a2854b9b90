#!/usr/bin/env bash
# vectra 0.12.3 (JavaScript, Node.js 20): `$in` finds no number, `$nin` leaves out parts of words, 0 matches nothing.
#
# Guessed: the operators mean what they mean in MongoDB, whose subset they are said to be; whole values are compared.
# Seen: `{ label: { $in: [1, 2] } }` finds no row and `$nin: [1]` leaves none out, while `$in: ['2021']` finds the
# numbers 1, 2 and 20, as they are parts of the word. `$nin: ['dogs']` leaves out "dog". A row whose value is 0, '' or false is
# found by no comparison: not by `{ label: 0 }`, `$lt: 1` or `$gte: 0`. Found without a filter, the row is there.
# Nothing is said; a search of too few rows looks like a search without good matches.
# Where it matters: a filter by photographer's number, class or split beside image search in a small JavaScript index;
# class 0 of a labelled data set is never found.
# Way round: `$or` of `$eq`, classes from 1.
. "$(dirname "$0")/_setup.sh"
install_js vectra@0.12.3
run_js <<'JS'
import { LocalIndex } from 'vectra';

const index = new LocalIndex('index');
await index.createIndex({ version: 1, metadata_config: { indexed: ['label', 'word'] } });
const rows = [['a', 0, 'dog'], ['b', 1, 'dogs'], ['c', 2, 'cat'], ['d', 20, '']];
for (const [id, label, word] of rows) {
    await index.insertItem({ id, vector: [1, label / 100], metadata: { label, word } });
}
const found = async (filter) =>
    (await index.queryItems([1, 0], '', 9, filter)).map((hit) => hit.item.id).sort().join('');
const cases = [
    // filter, what was guessed, what is seen
    [undefined, 'abcd', 'abcd'],
    [{ label: 1 }, 'b', 'b'],
    [{ $or: [{ label: 1 }, { label: 2 }] }, 'bc', 'bc'],
    [{ label: { $in: [1, 2] } }, 'bc', ''],
    [{ label: { $nin: [1] } }, 'acd', 'bcd'],
    [{ label: { $in: ['2021'] } }, '', 'bcd'],
    [{ word: { $in: ['dog', 'cat'] } }, 'ac', 'ac'],
    [{ word: { $nin: ['dogs'] } }, 'acd', 'c'],
    [{ label: 0 }, 'a', ''],
    [{ label: { $lt: 2 } }, 'ab', 'b'],
    [{ label: { $gte: 0 } }, 'abcd', 'bcd'],
    [{ word: { $ne: 'dog' } }, 'bcd', 'bc'],
];
let asDescribed = true;
for (const [filter, guessed, expected] of cases) {
    const seen = await found(filter);
    console.log(`${JSON.stringify(filter) ?? 'no filter'}: guessed '${guessed}', seen '${seen}'`);
    asDescribed &&= seen === expected;
}
if (!asDescribed) {
    console.error('changed: this is no longer what vectra does');
    process.exit(1);
}
JS
