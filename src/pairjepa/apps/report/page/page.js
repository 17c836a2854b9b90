// Brings the page to life: thumbnails, tabs, copying, maps, heat maps. Data come from <script id="data"> and are only
// ever set as text or as data: addresses of pictures.
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const jpeg = (base64) => `data:image/jpeg;base64,${base64}`;
  const captions = new Map();
  data.owner.forEach((image, caption) => {
    if (!captions.has(image)) captions.set(image, []);
    captions.get(image).push(caption);
  });
  data.captionsOf = (image) => captions.get(image) ?? [];
  data.thumbnail = (image) => {
    if (!data.thumbnails[image]) return null;
    const picture = new Image();
    picture.src = jpeg(data.thumbnails[image]);
    picture.alt = "";
    return picture;
  };

  for (const picture of document.querySelectorAll("img[data-image]")) {
    const bytes = data.thumbnails[picture.dataset.image];
    if (bytes) picture.src = jpeg(bytes);
  }

  // Tabs: one run at a time, the same one in every section; all of them on paper and without JavaScript.
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const panels = [...document.querySelectorAll("[role=tabpanel]")];
  const show = (run) => {
    for (const tab of tabs) {
      const selected = tab.dataset.run === run;
      tab.setAttribute("aria-selected", selected);
      tab.tabIndex = selected ? 0 : -1;
    }
    for (const panel of panels) panel.hidden = panel.dataset.run !== run;
  };
  for (const list of document.querySelectorAll("[role=tablist]")) {
    list.hidden = false;
    const own = [...list.children];
    const select = (tab) => {
      const before = list.getBoundingClientRect().top;
      show(tab.dataset.run);
      scrollBy({ top: list.getBoundingClientRect().top - before, behavior: "instant" }); // panels above have other heights
      tab.focus({ preventScroll: true });
    };
    list.addEventListener("click", (event) => own.includes(event.target) && select(event.target));
    list.addEventListener("keydown", (event) => {
      const at = own.indexOf(event.target);
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: own.length - 1 }[event.key];
      if (at < 0 || to === undefined) return;
      event.preventDefault();
      select(own[(to + own.length) % own.length]);
    });
  }
  if (tabs.length) show("0");

  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    const label = button.textContent;
    button.addEventListener("click", async () => {
      const table = document.getElementById(button.dataset.copy);
      const text = [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent.trim()).join("\t")).join("\n");
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch { // not allowed: leave it selected
        getSelection().selectAllChildren(table);
        button.textContent = "Selected: copy it with Ctrl+C";
      }
      setTimeout(() => { button.textContent = label; }, 2500);
    });
  }

  const maps = [...document.querySelectorAll(".map")].map(
    (root) => new PointMap(root, data.runs[root.dataset.run].projection, data),
  );
  for (const map of maps) map.root.hidden = false;
  const recolour = () => maps.forEach((map) => map.colours());
  document.addEventListener("themechange", recolour);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);

  // Where did it look: the map of one text over the picture, from its lowest to its highest cosine.
  const SCALE = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis
  const colour = (share) => {
    const at = share * (SCALE.length - 1);
    const low = Math.min(Math.floor(at), SCALE.length - 2);
    return SCALE[low].map((value, i) => value + (SCALE[low + 1][i] - value) * (at - low));
  };
  for (const root of document.querySelectorAll(".look")) {
    const look = data.runs[root.dataset.run].looks[root.dataset.look];
    const canvas = root.querySelector("canvas");
    const said = root.querySelector(".look-said");
    const strength = root.querySelector("input[type=range]");
    const buttons = [...root.querySelectorAll("[data-map]")];
    root.querySelector("img").src = jpeg(look.picture);
    [canvas.height, canvas.width] = look.grid;
    const pen = canvas.getContext("2d");
    const paint = (place) => {
      const { text, values, cosine } = look.maps[place];
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const pixels = pen.createImageData(canvas.width, canvas.height);
      values.forEach((value, i) => pixels.data.set([...colour(high > low ? (value - low) / (high - low) : 0), 255], 4 * i));
      pen.putImageData(pixels, 0, 0);
      said.textContent = `“${text}”: each place’s part in the cosine, from ${low.toFixed(2)} (dark) to ${high.toFixed(2)} (bright). The whole image has ${cosine.toFixed(2)}.`;
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", i === place));
    };
    buttons.forEach((button, i) => button.addEventListener("click", () => paint(i)));
    const fade = () => { canvas.style.opacity = strength.value / 100; };
    strength.addEventListener("input", fade);
    fade();
    if (look.maps.length) paint(0);
  }

  // On paper everything is open and light.
  const root = document.documentElement;
  let before;
  addEventListener("beforeprint", () => {
    before = { theme: root.dataset.theme, hidden: panels.map((panel) => panel.hidden) };
    root.dataset.theme = "light";
    for (const panel of panels) panel.hidden = false;
    for (const map of maps) { map.colours(); map.fit(); map.draw(); }
  });
  addEventListener("afterprint", () => {
    if (before.theme) root.dataset.theme = before.theme;
    else delete root.dataset.theme;
    panels.forEach((panel, i) => { panel.hidden = before.hidden[i]; });
    recolour();
  });
}
