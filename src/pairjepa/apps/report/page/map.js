// The map: predictions and targets as points on a canvas. Pan, zoom, hover, legend; by mouse, touch and keyboard.

class PointMap {
  static REACH = 14; // CSS pixels from a point at which it is still meant
  static CELLS = 64; // of the index that finds the nearest point, each way
  static SHAPES = ["circle", "triangle", "square"];
  static COLOURS = 5; // --series-0 and on

  constructor(root, projection, report) {
    Object.assign(this, { root, projection, report });
    this.canvas = root.querySelector("canvas");
    this.pen = this.canvas.getContext("2d");
    this.card = root.querySelector(".map-card");
    this.spoken = root.querySelector("[aria-live]");
    this.legend = root.querySelector(".map-legend");
    this.byCluster = false;
    this.allLines = false;
    this.off = new Set(); // kinds or clusters that the legend has switched off
    this.chosen = -1;
    this.pointers = new Map();
    this.view = { scale: 1, x: 0, y: 0 }; // screen = place * scale + (x, y)
    this.index();
    this.listen();
    this.colours();
    new ResizeObserver(() => this.fit()).observe(this.canvas);
  }

  index() {
    const { x, y, link } = this.projection;
    const span = (values) => values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    [this.left, this.right] = span(x);
    [this.top, this.bottom] = span(y);
    this.cell = Math.max(this.right - this.left, this.bottom - this.top, 1e-9) / PointMap.CELLS;
    this.cells = new Map();
    this.targets = new Map(); // a prediction's point -> points of its targets
    for (let i = 0; i < x.length; i++) {
      const key = this.key(x[i], y[i]);
      if (!this.cells.has(key)) this.cells.set(key, []);
      this.cells.get(key).push(i);
      if (link[i] >= 0) {
        if (!this.targets.has(link[i])) this.targets.set(link[i], []);
        this.targets.get(link[i]).push(i);
      }
    }
  }

  key(x, y) {
    return Math.floor((x - this.left) / this.cell) * 4096 + Math.floor((y - this.top) / this.cell);
  }

  // Drawing

  colours() {
    const probe = document.createElement("span");
    this.root.append(probe);
    const colour = (name) => {
      probe.style.color = `var(--${name})`;
      return getComputedStyle(probe).color;
    };
    this.text = colour("text");
    this.surface = colour("surface");
    this.series = Array.from({ length: PointMap.COLOURS }, (_, i) => colour(`series-${i}`));
    probe.remove();
    this.sprites = new Map();
    this.fillLegend();
    this.ask();
  }

  sprite(i) {
    const { kind, cluster } = this.projection;
    const group = this.byCluster ? cluster[i] : kind[i];
    const name = `${group}/${kind[i]}`;
    if (!this.sprites.has(name)) this.sprites.set(name, this.drawSprite(group, kind[i]));
    return this.sprites.get(name);
  }

  drawSprite(group, kind) {
    const shape = PointMap.SHAPES[this.byCluster ? Math.floor(group / PointMap.COLOURS) % 3 : kind];
    const radius = kind === 0 ? 4.6 : 3.2;
    const canvas = document.createElement("canvas");
    const size = Math.ceil((radius + 2) * 2);
    const sharp = Math.max(2, devicePixelRatio);
    canvas.width = canvas.height = size * sharp;
    const pen = canvas.getContext("2d");
    pen.scale(sharp, sharp);
    pen.translate(size / 2, size / 2);
    pen.beginPath();
    if (shape === "circle") pen.arc(0, 0, radius, 0, 2 * Math.PI);
    else if (shape === "square") pen.rect(-radius * 0.85, -radius * 0.85, radius * 1.7, radius * 1.7);
    else {
      pen.moveTo(0, -radius * 1.15);
      pen.lineTo(radius * 1.1, radius * 0.85);
      pen.lineTo(-radius * 1.1, radius * 0.85);
      pen.closePath();
    }
    pen.globalAlpha = kind === 0 ? 0.95 : 0.7;
    pen.fillStyle = this.series[group % PointMap.COLOURS];
    pen.fill();
    pen.globalAlpha = 1;
    pen.lineWidth = kind === 0 ? 1.2 : 0.5;
    pen.strokeStyle = kind === 0 && this.byCluster ? this.text : this.surface;
    pen.stroke();
    canvas.size = size;
    return canvas;
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || (width === this.width && height === this.height)) return;
    const first = !this.width;
    const sharp = devicePixelRatio;
    this.canvas.width = Math.round(width * sharp);
    this.canvas.height = Math.round(height * sharp);
    Object.assign(this, { width, height });
    if (first || !this.moved) this.home();
    this.draw();
  }

  home() {
    const edge = 28;
    const wide = Math.max(this.right - this.left, 1e-9);
    const high = Math.max(this.bottom - this.top, 1e-9);
    const scale = Math.min((this.width - 2 * edge) / wide, (this.height - 2 * edge) / high);
    this.whole = scale;
    this.least = scale / 2;
    this.most = scale * 60;
    this.moved = false;
    this.view = {
      scale,
      x: this.width / 2 - (scale * (this.left + this.right)) / 2,
      y: this.height / 2 - (scale * (this.top + this.bottom)) / 2,
    };
    this.ask();
  }

  ask() {
    this.waiting ??= requestAnimationFrame(() => this.draw());
  }

  shown(i) {
    return !this.off.has(this.byCluster ? this.projection.cluster[i] : this.projection.kind[i]);
  }

  screen(i) {
    const { scale, x, y } = this.view;
    return [this.projection.x[i] * scale + x, this.projection.y[i] * scale + y];
  }

  draw() {
    if (this.waiting) cancelAnimationFrame(this.waiting);
    this.waiting = null;
    if (!this.width) return;
    const { pen, width, height } = this;
    pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    pen.clearRect(0, 0, width, height);
    if (this.allLines) this.lines(this.targets.keys(), 0.18, 0.7);
    const { x, kind } = this.projection;
    const grown = Math.min(1, Math.max(0.6, width / 800)) * Math.min(1.6, (this.view.scale / this.whole) ** 0.25);
    for (const wanted of [1, 0]) { // predictions, the fewer, above targets
      for (let i = 0; i < x.length; i++) {
        if (kind[i] !== wanted || !this.shown(i)) continue;
        const [px, py] = this.screen(i);
        if (px < -8 || py < -8 || px > width + 8 || py > height + 8) continue;
        const sprite = this.sprite(i);
        const size = sprite.size * grown;
        pen.drawImage(sprite, px - size / 2, py - size / 2, size, size);
      }
    }
    if (this.byCluster) this.names();
    if (this.chosen >= 0) {
      const { link } = this.projection;
      this.lines([link[this.chosen] >= 0 ? link[this.chosen] : this.chosen], 0.9, 1.2);
      const [px, py] = this.screen(this.chosen);
      pen.beginPath();
      pen.arc(px, py, 9, 0, 2 * Math.PI);
      pen.lineWidth = 2.5;
      pen.strokeStyle = this.text;
      pen.stroke();
      this.placeCard(px, py);
    }
  }

  lines(predictions, alpha, wide) {
    const { pen } = this;
    pen.globalAlpha = alpha;
    pen.lineWidth = wide;
    pen.strokeStyle = this.text;
    for (const from of predictions) {
      const [x, y] = this.screen(from);
      pen.beginPath();
      for (const to of this.targets.get(from) ?? []) {
        pen.moveTo(x, y);
        pen.lineTo(...this.screen(to));
      }
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  names() {
    const { pen } = this;
    this.middles ??= this.findMiddles();
    pen.font = `600 13px ${getComputedStyle(document.body).fontFamily}`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    const taken = [];
    for (const { cluster, x, y, words } of this.middles) {
      if (this.off.has(cluster)) continue;
      const wide = pen.measureText(words).width;
      const px = Math.min(Math.max(x * this.view.scale + this.view.x, wide / 2 + 6), this.width - wide / 2 - 6);
      const py = y * this.view.scale + this.view.y;
      if (py < 0 || py > this.height || Math.abs(px - (x * this.view.scale + this.view.x)) > wide) continue;
      if (taken.some((other) => Math.abs(other.py - py) < 18 && Math.abs(other.px - px) < (other.wide + wide) / 2)) continue;
      taken.push({ px, py, wide });
      pen.lineWidth = 4;
      pen.strokeStyle = this.surface;
      pen.strokeText(words, px, py);
      pen.fillStyle = this.text;
      pen.fillText(words, px, py);
    }
  }

  findMiddles() {
    const { x, y, cluster, clusters } = this.projection;
    const middle = (values) => values.sort((a, b) => a - b)[values.length >> 1];
    return clusters.flatMap(({ words }, i) => {
      const members = cluster.flatMap((c, point) => (c === i ? [point] : []));
      if (!members.length) return [];
      return [{ cluster: i, words: words.join(", "), x: middle(members.map((m) => x[m])), y: middle(members.map((m) => y[m])) }];
    });
  }

  // What is under the pointer

  at(px, py) {
    const { scale, x, y } = this.view;
    const [dx, dy, reach] = [(px - x) / scale, (py - y) / scale, PointMap.REACH / scale];
    let [best, least] = [-1, reach * reach];
    for (let cx = dx - reach; ; cx += this.cell) {
      for (let cy = dy - reach; ; cy += this.cell) {
        for (const i of this.cells.get(this.key(Math.min(cx, dx + reach), Math.min(cy, dy + reach))) ?? []) {
          const far = (this.projection.x[i] - dx) ** 2 + (this.projection.y[i] - dy) ** 2;
          if (far <= least && this.shown(i)) [best, least] = [i, far];
        }
        if (cy >= dy + reach) break;
      }
      if (cx >= dx + reach) break;
    }
    return best;
  }

  choose(i, aloud = false) {
    if (i === this.chosen) return;
    this.chosen = i;
    this.card.hidden = i < 0;
    if (i >= 0) {
      const { kind, row, cluster, clusters } = this.projection;
      const image = kind[i] === 0 ? row[i] : this.report.owner[row[i]];
      const captions = kind[i] === 0 ? this.report.captionsOf(image) : [row[i]];
      const part = (tag, words, className = "") => {
        const element = document.createElement(tag);
        element.textContent = words;
        element.className = className;
        return element;
      };
      const picture = this.report.thumbnail(image);
      const words = clusters[cluster[i]]?.words.join(", ");
      this.card.replaceChildren(
        picture ?? part("p", "No thumbnail.", "muted small"),
        part("p", kind[i] === 0 ? "Image (prediction)" : "Caption (target)", "kind"),
        ...captions.slice(0, kind[i] === 0 ? 2 : 1).map((c) => part("p", this.report.texts[c])),
        part("p", [this.report.names[image], words && `cluster: ${words}`].filter(Boolean).join(" · "), "muted small"),
      );
      if (aloud) this.spoken.textContent = this.card.textContent;
    }
    this.ask();
  }

  placeCard(px, py) {
    const [wide, high] = [this.card.offsetWidth, this.card.offsetHeight];
    const x = px + 20 + wide > this.width ? px - 20 - wide : px + 20;
    this.card.style.left = `${Math.max(4, Math.min(x, this.width - wide - 4))}px`;
    this.card.style.top = `${Math.max(4, Math.min(py - high / 2, this.height - high - 4))}px`;
  }

  // Moving

  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const scale = Math.min(Math.max(this.view.scale * factor, this.least), this.most);
    const by = scale / this.view.scale;
    this.view = { scale, x: px - (px - this.view.x) * by, y: py - (py - this.view.y) * by };
    this.moved = true;
    this.ask();
  }

  pan(dx, dy) {
    this.view.x += dx;
    this.view.y += dy;
    this.moved = true;
    this.ask();
  }

  step(by) {
    const inView = this.projection.x.flatMap((_, i) => {
      const [px, py] = this.screen(i);
      return this.shown(i) && px >= 0 && py >= 0 && px <= this.width && py <= this.height ? [i] : [];
    });
    if (!inView.length) return;
    const now = inView.indexOf(this.chosen);
    this.choose(inView[now < 0 ? (by > 0 ? 0 : inView.length - 1) : (now + by + inView.length) % inView.length], true);
  }

  listen() {
    const { canvas } = this;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey) return; // the page scrolls
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0018)), ...place(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      this.pointers.set(event.pointerId, place(event));
      canvas.setPointerCapture(event.pointerId);
      const [px, py] = place(event);
      this.choose(this.at(px, py));
    });
    canvas.addEventListener("pointermove", (event) => {
      const [px, py] = place(event);
      const before = this.pointers.get(event.pointerId);
      if (!before) return this.choose(this.at(px, py));
      if (this.pointers.size === 1) this.pan(px - before[0], py - before[1]);
      else if (this.pointers.size === 2) {
        const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
        const apart = ([x, y]) => Math.hypot(x - other[0], y - other[1]);
        this.zoom(apart([px, py]) / Math.max(apart(before), 1), (px + other[0]) / 2, (py + other[1]) / 2);
      }
      this.pointers.set(event.pointerId, [px, py]);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.choose(-1));
    canvas.addEventListener("keydown", (event) => {
      const keys = {
        ArrowLeft: () => this.pan(40, 0),
        ArrowRight: () => this.pan(-40, 0),
        ArrowUp: () => this.pan(0, 40),
        ArrowDown: () => this.pan(0, -40),
        "+": () => this.zoom(1.4),
        "=": () => this.zoom(1.4),
        "-": () => this.zoom(1 / 1.4),
        0: () => this.home(),
        Enter: () => this.step(event.shiftKey ? -1 : 1),
        Escape: () => this.choose(-1),
      };
      if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key]();
    });
    const press = (name, act) => this.root.querySelector(`[data-act="${name}"]`).addEventListener("click", act);
    press("in", () => this.zoom(1.4));
    press("out", () => this.zoom(1 / 1.4));
    press("home", () => this.home());
    press("lines", (event) => {
      this.allLines = !this.allLines;
      event.currentTarget.setAttribute("aria-pressed", this.allLines);
      this.ask();
    });
    for (const [name, byCluster] of [["modality", false], ["cluster", true]]) {
      press(name, () => {
        this.byCluster = byCluster;
        for (const other of ["modality", "cluster"]) {
          this.root.querySelector(`[data-act="${other}"]`).setAttribute("aria-pressed", other === name);
        }
        this.off.clear();
        this.sprites.clear();
        this.fillLegend();
        this.ask();
      });
    }
  }

  fillLegend() {
    const { clusters } = this.projection;
    const groups = this.byCluster
      ? clusters.map(({ words, size }, i) => [i, `${words.join(", ")} (${size.toLocaleString("en")})`, 1])
      : [[0, "images (predictions)", 0], [1, "captions (targets)", 1]];
    this.legend.replaceChildren(...groups.map(([group, words, kind]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", !this.off.has(group));
      const sprite = this.drawSprite(group, kind);
      sprite.setAttribute("aria-hidden", "true");
      button.append(sprite, words);
      button.addEventListener("click", () => {
        if (!this.off.delete(group)) this.off.add(group);
        button.setAttribute("aria-pressed", !this.off.has(group));
        if (this.chosen >= 0 && !this.shown(this.chosen)) this.choose(-1);
        this.ask();
      });
      const item = document.createElement("li");
      item.append(button);
      return item;
    }));
  }
}
