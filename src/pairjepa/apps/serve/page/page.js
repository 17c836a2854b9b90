// The search page. What is searched for lives in `query` and in the address; a photo only in memory.
// All that comes from the index is put into the page as text, never as HTML.

const $ = (selector) => document.querySelector(selector);
const words = $("#words"), results = $("#results"), status = $("#status"), picture = $("#picture"), more = $("#more");
const PAGE = 24, MOST = 100; // results at first, and as many as the API gives
const SOON = 150, LATER = 350; // ms after the last key: words alone, and with a photo that is sent again

const photos = []; // chosen since the page was loaded; history.state.photo is a place in it
const query = { photo: null, like: null, where: null, k: PAGE };
let info = { images: 0, captions: false, max_upload: Infinity };
let asked = null; // AbortController of the request under way
let timer = 0;

// --- what is searched for, in the address ---

function searched() {
  return $("#of input:checked").value;
}

function remember(push) {
  const parameters = new URLSearchParams();
  if (words.value.trim()) parameters.set("q", words.value.trim());
  if (query.like) parameters.set("like", query.like);
  if (searched() !== "images") parameters.set("in", searched());
  if (query.where) parameters.set("where", query.where);
  const address = parameters.size ? `?${parameters}` : location.pathname;
  const state = { photo: photos.indexOf(query.photo) };
  if (push && address + state.photo !== location.search + history.state?.photo) history.pushState(state, "", address);
  else history.replaceState(state, "", address);
}

function recall() {
  const parameters = new URLSearchParams(location.search);
  words.value = parameters.get("q") ?? "";
  query.like = parameters.get("like");
  query.where = parameters.get("where");
  query.photo = photos[history.state?.photo] ?? null;
  query.k = PAGE;
  const wanted = parameters.get("in") === "captions" ? "captions" : "images";
  $(`#of input[value=${wanted}]`).checked = true;
  showPicture();
  search();
}

// --- asking ---

function request(signal) {
  const q = words.value.trim();
  const parameters = { k: query.k, in: searched(), ...(query.where && { where: query.where }) };
  if (query.photo) {
    const form = new FormData();
    for (const [name, value] of Object.entries({ ...parameters, ...(q && { q }) })) form.set(name, value);
    form.set("image", query.photo);
    return () => fetch("/api/search", { method: "POST", body: form, signal });
  }
  if (query.like) return () => fetch(`/api/similar/${encodeURIComponent(query.like)}?${new URLSearchParams(parameters)}`, { signal });
  if (q) return () => fetch(`/api/search?${new URLSearchParams({ q, ...parameters })}`, { signal });
  return () => fetch(`/api/images?${new URLSearchParams({ k: query.k })}`, { signal });
}

async function search() {
  clearTimeout(timer);
  asked?.abort(); // its answer would be of another query
  const control = asked = new AbortController();
  const ask = request(control.signal);
  document.title = words.value.trim() ? `${words.value.trim()} · PairJEPA` : "PairJEPA search";
  results.setAttribute("aria-busy", "true");
  try {
    const answer = await patiently(ask, control.signal);
    const body = await answer.json();
    if (control.signal.aborted) return;
    if (answer.ok) show(body.results);
    else complain(body.detail);
  } catch (error) {
    if (error.name !== "AbortError") complain("The server does not answer. Start it again with pairjepa serve, then search again.");
  } finally {
    if (asked === control) results.removeAttribute("aria-busy");
  }
}

// Asks again, when it is told to, as long as the server is busy.
async function patiently(ask, signal) {
  for (;;) {
    const answer = await ask();
    if (answer.status !== 503) return answer;
    const seconds = Number(answer.headers.get("Retry-After")) || 1;
    status.textContent = `The server is busy; asking again in ${seconds} s`;
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    signal.throwIfAborted();
  }
}

function later() {
  clearTimeout(timer);
  timer = setTimeout(() => { remember(false); search(); }, query.photo ? LATER : SOON);
}

// --- showing ---

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Without a query `hits` are some images of the index, and have no score.
function show(hits) {
  const searching = Boolean(query.photo || query.like || words.value.trim());
  const within = results.contains(document.activeElement);
  $("#problem").hidden = true;
  $("#empty").hidden = searching;
  $("#nothing").hidden = !searching || hits.length > 0;
  results.className = searching ? searched() : "images";
  results.replaceChildren(...hits.map(card));
  more.hidden = hits.length < query.k || query.k >= MOST;
  status.textContent = searching ? summary(hits.length) : `${hits.length} of ${$("#size").textContent}`;
  if (within) (results.querySelector(".like") ?? words).focus();
}

function summary(count) {
  const q = words.value.trim();
  const kind = searched() === "captions" ? (count === 1 ? "caption" : "captions") : (count === 1 ? "image" : "images");
  const by = query.photo ? (q ? `this photo and “${q}”` : "this photo") : query.like ? "this image" : `“${q}”`;
  return `${count} ${kind} for ${by}${query.where ? `, where ${query.where}` : ""}${count ? ", best first" : ""}`;
}

function card(hit, place, hits) {
  const [first = "", ...others] = hit.captions;
  const image = element("img", { src: `/api/images/${hit.id}`, alt: "", loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.classList.add("lost"));
  const tabIndex = place ? -1 : 0;
  const open = element("a",
    { className: "open", href: `/api/images/${hit.id}/original`, target: "_blank", title: "Open the original", tabIndex }, image);
  open.setAttribute("aria-label", `Open the original: ${first || hit.name}`);
  const like = element("button", { type: "button", className: "like", textContent: "More like this", tabIndex });
  like.setAttribute("aria-label", `More like this: ${first || hit.name}`);
  like.addEventListener("click", () => moreLike(hit.id));
  const about = element("div", { className: "about" });
  if (hit.score !== undefined) {
    const bar = element("i");
    const known = hit.probability != null;  // scores that are corrected for hubs may all be below 0
    const share = known ? hit.probability : hit.score / Math.max(hits[0].score, 1e-9);
    bar.style.setProperty("--share", `${Math.max(0, Math.min(1, share)) * 100}%`);
    const title = known ? `probability ${hit.probability.toFixed(3)}, score ${hit.score}` : `score ${hit.score}`;
    about.append(element("p", { className: "score number", title },
      element("span", { textContent: known ? `${Math.round(100 * hit.probability)} %` : hit.score.toFixed(3) }), bar));
  }
  if (first) about.append(element("p", { className: "words", textContent: first }));
  about.append(element("p", { className: "name", textContent: hit.name, title: hit.name }));
  if (others.length) {
    about.append(element("details", {},
      element("summary", { textContent: others.length === 1 ? "1 more caption" : `${others.length} more captions` }),
      element("ul", {}, ...others.map((caption) => element("li", { textContent: caption })))));
  }
  about.append(like);
  return element("li", { className: "hit" }, open, about);
}

function complain(sentence) {
  $("#empty").hidden = $("#nothing").hidden = more.hidden = true;
  results.replaceChildren();
  status.textContent = "";
  $("#problem").textContent = sentence;
  $("#problem").hidden = false;
}

async function showPicture() {
  const [canvas, image] = picture.children;
  picture.hidden = !query.photo && !query.like;
  canvas.hidden = !query.photo;
  image.hidden = !query.like;
  words.placeholder = query.photo ? "add words to the photo" : query.like ? "or search for something else" : "a dog in the snow";
  if (query.like) {
    image.src = `/api/images/${encodeURIComponent(query.like)}`;
    image.alt = "the image that the results are like";
  }
  if (!query.photo) return;
  canvas.setAttribute("aria-label", `photo ${query.photo.name}`);
  const draw = canvas.getContext("2d");
  draw.clearRect(0, 0, canvas.width, canvas.height);
  try {
    const bitmap = await createImageBitmap(query.photo);
    const scale = Math.max(canvas.width / bitmap.width, canvas.height / bitmap.height);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    draw.drawImage(bitmap, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
    bitmap.close();
  } catch { /* no picture, or none that this browser knows: the server says so */ }
}

// --- doing ---

function change(changes) {
  Object.assign(query, { k: PAGE, ...changes });
  showPicture();
  remember(true);
  search();
}

function moreLike(id) {
  words.value = "";
  change({ like: id, photo: null });
  scrollTo({ top: 0 });
}

function take(file) {
  if (!file) return;
  if (file.size > info.max_upload) {
    complain(`The photo must have at most ${info.max_upload / 1e6} MB, got ${(file.size / 1e6).toFixed(1)} MB. Choose a smaller copy.`);
    return;
  }
  photos.push(file);
  change({ photo: file, like: null });
  words.focus();
}

function drop(event) {
  event.preventDefault();
  $("#drop").hidden = true;
  take(event.dataTransfer.files[0]);
}

words.addEventListener("input", () => {
  query.k = PAGE;
  if (query.like && words.value.trim()) { // words look for something else
    query.like = null;
    showPicture();
  }
  later();
});
$("#form").addEventListener("submit", (event) => { event.preventDefault(); remember(true); search(); });
$("#of").addEventListener("change", () => change({}));
$("#choose").addEventListener("click", () => $("#file").click());
$("#file").addEventListener("change", (event) => { take(event.target.files[0]); event.target.value = ""; });
picture.querySelector("button").addEventListener("click", () => { change({ photo: null, like: null }); words.focus(); });
more.addEventListener("click", () => { query.k = Math.min(MOST, query.k * 2); search(); });
addEventListener("popstate", recall);
addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
  if (!file) return;
  event.preventDefault();
  take(file);
});
addEventListener("dragover", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  $("#drop").hidden = false;
});
addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("#drop").hidden = true; });
addEventListener("drop", (event) => { if (event.dataTransfer.types.includes("Files")) drop(event); });

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const likes = [...results.querySelectorAll(".like")];
  const at = likes.indexOf(document.activeElement);
  if (event.key === "/" && document.activeElement !== words) {
    event.preventDefault();
    words.focus();
    words.select();
  } else if (event.key === "Escape") {
    if (document.activeElement !== words) words.focus();
    else if (words.value) { event.preventDefault(); words.value = ""; later(); }
    else if (query.photo || query.like) change({ photo: null, like: null });
  } else if (event.key === "ArrowDown" && document.activeElement === words && likes.length) {
    event.preventDefault();
    move(likes, 0);
  } else if (at >= 0) {
    const top = (like) => like.getBoundingClientRect().top;
    const row = likes.filter((like) => top(like) === top(likes[0])).length;
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + row, ArrowUp: at - row, Home: 0, End: likes.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to < 0) words.focus();
    else move(likes, Math.min(to, likes.length - 1));
  }
});

function move(likes, to) {
  for (const [place, like] of likes.entries()) {
    like.tabIndex = like.closest(".hit").querySelector(".open").tabIndex = place === to ? 0 : -1;
  }
  likes[to].focus();
}

const health = await fetch("/healthz").then((answer) => answer.json()).catch(() => null);
if (health) {
  info = health;
  $("#size").textContent = `${info.images.toLocaleString("en")} ${info.images === 1 ? "image" : "images"}`;
  $("#of").hidden = !info.captions;
}
recall();
