// Thumbnails, and the map: predictions and targets as points to look at and to search. Data come from
// <script id="data"> and are only ever set as text or as data: addresses of pictures.
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const show = (picture, row) => { picture.src = `data:image/jpeg;base64,${data.thumbnails[row]}`; };
  for (const picture of document.querySelectorAll("img[data-image]")) show(picture, picture.dataset.image);
  addEventListener("beforeprint", () => document.querySelectorAll("details.run").forEach((run) => { run.open = true; }));

  const REACH = 14; // CSS pixels from a point at which it is still meant
  const IMAGE = 0; // the kind of a prediction's point; the others are captions' targets

  for (const root of document.querySelectorAll(".map")) {
    const { x, y, kind, row, link, cluster } = data.maps[root.dataset.run];
    const points = x.map((_, i) => i);
    const image = points.map((i) => (kind[i] === IMAGE ? row[i] : data.owner[row[i]]));
    const texts = points.map((i) => (kind[i] === IMAGE
      ? data.texts.filter((_, caption) => data.owner[caption] === row[i])
      : [data.texts[row[i]]]));
    const words = points.map((i) => [data.names[image[i]], ...texts[i]].join("\n").toLowerCase());
    const [canvas, card, search, count] = ["canvas", ".map-card", "input", "output"].map((q) => root.querySelector(q));
    const legends = root.querySelectorAll(".legend");
    const pen = canvas.getContext("2d");
    const [left, right, top, bottom] = [Math.min(...x), Math.max(...x), Math.min(...y), Math.max(...y)];
    let view = null; // screen = place * scale + (dx, dy)
    let hits = null; // points that the search has found, in order; null: no search
    let isHit = null;
    let [chosen, byCluster, colours, moved] = [-1, false, {}, false];

    const screen = (i) => [x[i] * view.scale + view.dx, y[i] * view.scale + view.dy];
    const size = () => [canvas.clientWidth, canvas.clientHeight];
    const home = () => {
      const [wide, high] = size();
      const scale = Math.min((wide - 48) / Math.max(right - left, 1e-9), (high - 48) / Math.max(bottom - top, 1e-9));
      view = { scale, dx: (wide - scale * (left + right)) / 2, dy: (high - scale * (top + bottom)) / 2 };
      moved = false;
    };
    const zoom = (by, px = size()[0] / 2, py = size()[1] / 2) => {
      view = { scale: view.scale * by, dx: px - (px - view.dx) * by, dy: py - (py - view.dy) * by };
      moved = true;
      draw();
    };
    const readColours = () => {
      const probe = root.appendChild(document.createElement("span"));
      for (const name of ["text", ...Array.from({ length: 7 }, (_, n) => `series-${n}`)]) {
        probe.style.color = `var(--${name})`;
        colours[name] = getComputedStyle(probe).color;
      }
      probe.remove();
    };
    const colour = (i) => (byCluster ? colours[`series-${cluster[i]}`] ?? colours.text : colours[kind[i] === IMAGE ? "series-0" : "series-5"]);

    const draw = () => {
      if (!view) return;
      const [wide, high] = size();
      const radius = wide < 500 ? 2.2 : 3;
      pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
      pen.clearRect(0, 0, wide, high);
      for (const wanted of [1, IMAGE]) { // predictions, the fewer, above targets
        for (const i of points) {
          if (kind[i] !== wanted) continue;
          const [px, py] = screen(i);
          pen.globalAlpha = !hits || isHit.has(i) ? 0.75 : 0.07;
          pen.fillStyle = colour(i);
          pen.beginPath();
          if (wanted === IMAGE) pen.arc(px, py, 1.4 * radius, 0, 2 * Math.PI);
          else pen.rect(px - radius, py - radius, 2 * radius, 2 * radius);
          pen.fill();
        }
      }
      pen.globalAlpha = 1;
      if (chosen < 0) return;
      const hub = link[chosen] >= 0 ? link[chosen] : chosen; // a prediction, and lines to its targets
      pen.strokeStyle = colours.text;
      pen.beginPath();
      for (const i of points) if (link[i] === hub) { pen.moveTo(...screen(hub)); pen.lineTo(...screen(i)); }
      const [px, py] = screen(chosen);
      pen.moveTo(px + 9, py);
      pen.arc(px, py, 9, 0, 2 * Math.PI);
      pen.stroke();
      card.style.left = `${Math.max(4, px + 260 > wide ? px - 20 - card.offsetWidth : px + 20)}px`;
      card.style.top = `${Math.max(4, Math.min(py - card.offsetHeight / 2, high - card.offsetHeight - 4))}px`;
    };

    const choose = (i) => {
      if (i === chosen) return;
      chosen = i;
      card.hidden = i < 0;
      if (i >= 0) {
        const line = (text, className = "") => Object.assign(document.createElement("p"), { textContent: text, className });
        card.replaceChildren(
          line(kind[i] === IMAGE ? "Image (prediction)" : "Caption (target)", "muted small"),
          ...texts[i].slice(0, 2).map((text) => line(text)),
          line(data.names[image[i]], "muted small"),
        );
        if (data.thumbnails[image[i]]) {
          card.prepend(Object.assign(new Image(), { alt: "", onload: draw }));
          show(card.firstChild, image[i]);
        }
      }
      draw();
    };
    const nearest = (px, py) => {
      let [best, least] = [-1, REACH ** 2];
      for (const i of hits ?? points) {
        const [ax, ay] = screen(i);
        const far = (ax - px) ** 2 + (ay - py) ** 2;
        if (far < least) [best, least] = [i, far];
      }
      return best;
    };

    const at = (event) => [event.offsetX, event.offsetY];
    canvas.addEventListener("pointerdown", (event) => choose(nearest(...at(event))));
    canvas.addEventListener("pointermove", (event) => {
      if (!event.buttons) return choose(nearest(...at(event)));
      view.dx += event.movementX;
      view.dy += event.movementY;
      moved = true;
      draw();
    });
    canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && choose(-1));
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey) return; // the page scrolls
      event.preventDefault();
      zoom(Math.exp(-0.0018 * event.deltaY), ...at(event));
    }, { passive: false });
    search.addEventListener("input", () => {
      const wanted = search.value.trim().toLowerCase();
      hits = wanted ? points.filter((i) => words[i].includes(wanted)) : null;
      isHit = new Set(hits);
      count.textContent = hits ? `${hits.length.toLocaleString("en")} of ${points.length.toLocaleString("en")} points` : "";
      choose(-1);
      draw();
    });
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && hits?.length) choose(hits[(hits.indexOf(chosen) + 1) % hits.length]);
    });
    const acts = {
      in: () => zoom(1.5),
      out: () => zoom(1 / 1.5),
      home: () => { home(); draw(); },
      colour: (button) => {
        byCluster = !byCluster;
        button.setAttribute("aria-pressed", byCluster);
        legends.forEach((legend, n) => { legend.hidden = byCluster !== (n === 1); });
        draw();
      },
    };
    for (const button of root.querySelectorAll("[data-act]")) button.addEventListener("click", () => acts[button.dataset.act](button));
    const repaint = () => { readColours(); draw(); };
    document.addEventListener("themechange", repaint);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
    new ResizeObserver(() => {
      const [wide, high] = size();
      if (!wide) return; // in a run that is not open
      [canvas.width, canvas.height] = [wide * devicePixelRatio, high * devicePixelRatio];
      if (!moved) home();
      repaint();
    }).observe(canvas);
  }
}
