// What a chart's lines say under the pointer. The values stand in data-chart (charts.py writes it).
{
  const tip = document.createElement("div");
  tip.className = "tip card screen-only";
  tip.hidden = true;
  document.body.append(tip);

  const row = (tag, name, value) => {
    const line = document.createElement(tag);
    line.append(name, " ");
    const number = document.createElement("b");
    number.className = "number";
    number.textContent = value;
    line.append(number);
    return line;
  };
  const nearest = (values, wanted) =>
    values.reduce((best, value, i) => (Math.abs(value - wanted) < Math.abs(values[best] - wanted) ? i : best), 0);

  for (const svg of document.querySelectorAll("svg[data-chart]")) {
    if (!svg.dataset.chart) continue;
    const chart = JSON.parse(svg.dataset.chart);
    const [left, right, top, bottom] = chart.plot;
    const bend = chart.log ? Math.log : (x) => x;
    const unbend = chart.log ? Math.exp : (x) => x;
    const [low, high] = chart.x.map(bend);
    const hair = document.createElementNS("http://www.w3.org/2000/svg", "line");
    hair.setAttribute("class", "hair");
    hair.setAttribute("y1", top);
    hair.setAttribute("y2", bottom);
    svg.append(hair);
    const away = () => { tip.hidden = true; hair.style.display = "none"; };
    away();
    svg.addEventListener("pointerleave", away);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      if (at < left - 4 || at > right + 4) return away();
      const wanted = unbend(low + ((at - left) / (right - left)) * (high - low));
      const hits = chart.lines.map((line) => ({ line, i: nearest(line.x, wanted) }));
      const x = hits.map(({ line, i }) => line.x[i]).sort((a, b) => Math.abs(a - wanted) - Math.abs(b - wanted))[0];
      const place = high > low ? left + ((bend(x) - low) / (high - low)) * (right - left) : (left + right) / 2;
      hair.setAttribute("x1", place);
      hair.setAttribute("x2", place);
      hair.style.display = "";
      tip.replaceChildren(
        row("p", chart.label, Number(x.toPrecision(4))),
        ...hits.filter(({ line, i }) => line.x[i] === x).map(({ line, i }) => row("div", line.name, line.y[i] ?? "–")),
      );
      tip.hidden = false;
      const width = tip.offsetWidth;
      const right_of = event.clientX + 16;
      tip.style.left = `${Math.max(4, right_of + width > innerWidth ? event.clientX - width - 16 : right_of)}px`;
      tip.style.top = `${Math.max(4, event.clientY - tip.offsetHeight - 12)}px`;
    });
  }
}
