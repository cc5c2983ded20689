"use strict";
// Charts that answer: choice of axes and scales, series on and off, values under the pointer. The page works without them.

const DASHES = ["", "8 4", "2 3", "10 3 2 3"];
const COLOURS = 7;
const DIGITS = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

// JSON has neither infinity nor NaN: they come as words and null.
const real = (value) => (value === null ? NaN : Number(value));
const words = (name) => name.replaceAll("_", " ");
const round = (value) => Math.round(value * 10) / 10;

function number(value, digits = 4) {
  if (value === 0 || (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e5)) return String(Number(value.toPrecision(digits)));
  if (!Number.isFinite(value)) return "diverged";
  const [mantissa, exponent] = value.toExponential(Math.min(digits, 4) - 1).split("e");
  const power = "10" + [...String(Number(exponent))].map((sign) => DIGITS[sign]).join("");
  return Number(mantissa) === 1 ? power : `${Number(mantissa)}·${power}`;
}

function element(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "line", "text", "circle", "rect"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function range(values, log, margin) {
  const usable = values.filter((value) => Number.isFinite(value) && (!log || value > 0));
  if (!usable.length) return log ? [0.1, 1] : [0, 1];
  let low = usable.reduce((a, b) => Math.min(a, b));
  let high = usable.reduce((a, b) => Math.max(a, b));
  if (log) {
    if (low === high) [low, high] = [low / 2, high * 2];
    const factor = (high / low) ** margin;
    return [low / factor, high * factor];
  }
  if (low === high) [low, high] = [low - 0.5 * Math.abs(low) - 0.5, high + 0.5 * Math.abs(high) + 0.5];
  return [low - margin * (high - low), high + margin * (high - low)];
}

function ticks([low, high], log, room) {
  const found = [];
  if (log) {
    const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
    const every = Math.max(1, Math.ceil((last - first) / room));
    const factors = high / low < 200 ? [1, 2, 5] : [1];
    for (let e = first; e <= last; e += every) found.push(...factors.map((factor) => factor * 10 ** e));
    return found.filter((value) => value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9));
  }
  const rough = (high - low) / room;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * unit).find((size) => size >= rough * 0.999);
  for (let k = Math.ceil(low / step - 1e-9); k <= Math.floor(high / step + 1e-9); k++) found.push(k * step);
  return found;
}

function scale([low, high], log, begin, end) {
  return (value) => {
    if (!Number.isFinite(value) || (log && value <= 0)) return NaN;
    const share = log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
    return begin + share * (end - begin);
  };
}

// Connected pieces of a line; a point that is not finite ends one.
function path(points) {
  let pen = "M";
  return points
    .map(([x, y]) => {
      if (!Number.isFinite(x) || !Number.isFinite(y)) return (pen = "M"), "";
      const step = `${pen}${round(x)} ${round(y)}`;
      pen = "L";
      return step;
    })
    .join("");
}

function outline(points, top) {
  const parts = [[]];
  for (const [x, low, high] of points) {
    const fine = Number.isFinite(x) && Number.isFinite(low);
    if (fine) parts.at(-1).push([x, low, Number.isFinite(high) ? high : top]);
    else if (parts.at(-1).length) parts.push([]);
  }
  const edges = (part) => [...part.map(([x, low]) => [x, low]), ...part.toReversed().map(([x, , high]) => [x, high])];
  return parts.filter((part) => part.length).map((part) => path(edges(part)) + "Z").join("");
}

class Chart {
  constructor(figure, data) {
    Object.assign(this, { figure, data, x: data.x, y: data.y, hidden: new Set(), at: null });
    this.plot = figure.querySelector(".plot");
    this.tip = element("div", { class: "tip", role: "status", hidden: "" });
    this.plot.tabIndex = 0;
    this.plot.setAttribute("role", "group");
    this.makeControls();
    this.makeLegend();
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerdown", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => this.show(null));
    this.plot.addEventListener("blur", () => this.show(null));
    this.plot.addEventListener("keydown", (event) => this.key(event));
    this.width = 0;
    new ResizeObserver(() => {
      if (Math.abs(this.plot.clientWidth - this.width) >= 1) this.draw();
    }).observe(this.plot);
    this.rescale();
  }

  makeControls() {
    const { data } = this;
    const choice = (name, options, key) => {
      const select = element("select", { name: key });
      select.append(...options.map((option) => element("option", { value: option }, words(option))));
      select.value = this[key];
      select.addEventListener("change", () => {
        this[key] = select.value;
        this.rescale();
      });
      return element("label", {}, name, select);
    };
    const check = (name, key) => {
      const box = element("input", { type: "checkbox", name: key });
      box.addEventListener("change", () => {
        this[key] = box.checked;
        this.draw();
      });
      this[`${key}Box`] = box;
      return element("label", {}, box, name);
    };
    const save = element("button", { type: "button", class: "save" }, "Save SVG");
    save.addEventListener("click", () => this.save());
    const y = choice(data.ends ? "final" : "metric", data.ys, "y");
    this.figure.querySelector(".controls").append(y, choice("against", data.xs, "x"), check("log x", "logX"), check("log y", "logY"), save);
  }

  makeLegend() {
    const legend = this.figure.querySelector(".legend");
    this.buttons = [...legend.children].map((item, i) => {
      const button = element("button", { type: "button", "aria-pressed": "true" }, ...item.childNodes);
      button.addEventListener("click", () => {
        if (!this.hidden.delete(i)) this.hidden.add(i);
        this.toggled();
      });
      item.append(button);
      return button;
    });
    if (this.buttons.length < 3) return;
    const all = element("button", { type: "button", class: "all" }, "all or none");
    all.addEventListener("click", () => {
      this.hidden = new Set(this.hidden.size ? [] : this.buttons.keys());
      this.toggled();
    });
    legend.append(element("li", {}, all));
  }

  toggled() {
    this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(!this.hidden.has(i))));
    this.draw();
  }

  // Other axes: scales that suit them.
  rescale() {
    this.logX = this.data.logX[this.x];
    this.logY = this.data.logY[this.y];
    this.logXBox.checked = this.logX;
    this.logYBox.checked = this.logY;
    this.at = null;
    this.draw();
  }

  lines() {
    const found = [];
    this.data.series.forEach((series, i) => {
      const table = series.tables.find((one) => this.x in one.xs && this.y in one.ys);
      this.buttons[i].parentElement.hidden = !table;
      if (!table || this.hidden.has(i)) return;
      const columns = Object.fromEntries(Object.entries(table.ys[this.y]).map(([name, values]) => [name, values.map(real)]));
      found.push({ ...series, best: table.best, x: table.xs[this.x].map(real), ...columns });
    });
    return found;
  }

  draw(width = this.plot.clientWidth) {
    this.width = width;
    if (!width) return;
    const height = Math.round(Math.min(460, Math.max(290, width * 0.5)));
    const box = { left: width < 500 ? 58 : 72, right: width - 14, top: 22, bottom: height - 50 };
    const lines = (this.shown = this.lines());
    const xs = range(lines.flatMap((line) => line.x), this.logX, 0.02);
    const ys = range(lines.flatMap((line) => [...line.median, ...(line.low ?? []), ...(line.high ?? [])]), this.logY, 0.05);
    const x = scale(xs, this.logX, box.left, box.right);
    const y = scale(ys, this.logY, box.bottom, box.top);
    Object.assign(this, { box, scaleX: x, scaleY: y });
    const nameX = words(this.x);
    const nameY = (this.data.ends ? "final " : "") + words(this.y);
    const label = `${nameY} against ${nameX}: ${lines.map((line) => line.name).join(", ")}. Arrow keys read values.`;
    this.plot.setAttribute("aria-label", label);
    const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    for (const tick of ticks(xs, this.logX, width < 500 ? 4 : 7)) {
      const at = round(x(tick));
      svg.append(element("line", { class: "grid", x1: at, x2: at, y1: box.top, y2: box.bottom }));
      svg.append(element("text", { class: "tick x", x: at, y: box.bottom + 18, "text-anchor": "middle" }, number(tick)));
    }
    for (const tick of ticks(ys, this.logY, 6)) {
      const at = round(y(tick));
      svg.append(element("line", { class: "grid", x1: box.left, x2: box.right, y1: at, y2: at }));
      svg.append(element("text", { class: "tick y", x: box.left - 8, y: at + 4, "text-anchor": "end" }, number(tick)));
    }
    const middle = (box.top + box.bottom) / 2;
    svg.append(element("text", { class: "label", x: (box.left + box.right) / 2, y: height - 8, "text-anchor": "middle" }, nameX));
    const turned = `translate(14 ${middle}) rotate(-90)`;
    svg.append(element("text", { class: "label", transform: turned, "text-anchor": "middle" }, nameY));
    if (!lines.length) {
      const said = "nothing is shown: choose a method below";
      svg.append(element("text", { x: (box.left + box.right) / 2, y: middle, "text-anchor": "middle" }, said));
    }
    for (const line of lines) svg.append(this.drawLine(line));
    this.cursor = element("g");
    svg.append(this.cursor);
    this.plot.replaceChildren(svg, this.tip);
    this.show(this.at);
  }

  drawLine(line) {
    const { scaleX: x, scaleY: y, box } = this;
    const colour = `c${line.style % COLOURS}`;
    const drawn = element("g", { "data-series": line.name });
    if (line.low) {
      const edges = line.x.map((value, i) => [x(value), y(line.low[i]), y(line.high[i])]);
      drawn.append(element("path", { class: `band ${colour}`, d: outline(edges, box.top) }));
    }
    const points = line.x.map((value, i) => [x(value), y(line.median[i])]);
    const dashes = DASHES[line.style % DASHES.length];
    drawn.append(element("path", { class: `line ${colour}`, d: path(points), "stroke-dasharray": dashes || "none" }));
    if (this.data.ends) {
      points.forEach(([a, b], i) => {
        if (!Number.isFinite(a) || !Number.isFinite(b)) return;
        if (i === line.best) drawn.append(element("circle", { class: `ring ${colour}`, cx: round(a), cy: round(b), r: 8 }));
        drawn.append(element("circle", { class: `dot ${colour}`, cx: round(a), cy: round(b), r: 3.5 }));
      });
    }
    const lost = line.x.filter((value, i) => line.median[i] === Infinity && Number.isFinite(x(value)));
    for (const value of this.data.ends ? lost : lost.slice(0, 1)) {
      drawn.append(element("path", { class: `cross ${colour}`, d: `M${round(x(value)) - 4} ${box.top - 14}l8 8m0 -8l-8 8` }));
    }
    return drawn;
  }

  // Every horizontal position at which something was recorded.
  stops() {
    const values = this.shown.flatMap((line) => line.x).filter((value) => Number.isFinite(this.scaleX(value)));
    return [...new Set(values)].sort((a, b) => a - b);
  }

  point(event) {
    const at = event.clientX - this.plot.getBoundingClientRect().left;
    const stops = this.stops();
    if (!stops.length) return;
    const far = (value) => Math.abs(this.scaleX(value) - at);
    this.show(stops.reduce((a, b) => (far(b) < far(a) ? b : a)), event.clientY - this.plot.getBoundingClientRect().top);
  }

  key(event) {
    if (event.key === "Escape") return this.show(null);
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    const stops = this.stops();
    if (move === undefined || !stops.length) return;
    event.preventDefault();
    const now = this.at === null ? (move > 0 ? -1 : stops.length) : stops.indexOf(this.at);
    this.show(stops[Math.max(0, Math.min(stops.length - 1, now + move))]);
  }

  // The values of all series at, or nearest to, a recorded position.
  show(at, height = this.box?.top) {
    this.at = at;
    this.cursor?.replaceChildren();
    this.tip.hidden = at === null;
    if (at === null || !this.cursor) return;
    const { scaleX: x, scaleY: y, box } = this;
    const here = round(x(at));
    this.cursor.append(element("line", { class: "cursor", x1: here, x2: here, y1: box.top, y2: box.bottom }));
    const rows = [];
    for (const line of this.shown) {
      const far = line.x.map((value) => Math.abs(x(value) - x(at)));
      const i = far.reduce((best, value, j) => (!(far[best] <= value) && Number.isFinite(value) ? j : best), -1);
      const ended = at > Math.max(...line.x.filter(Number.isFinite)) * (1 + 1e-9);
      if (i < 0 || Number.isNaN(line.median[i]) || ended) continue;
      const value = line.median[i];
      const dot = { class: `dot c${line.style % COLOURS}`, cx: round(x(line.x[i])), cy: round(y(value)), r: 4.5 };
      if (Number.isFinite(y(value))) this.cursor.append(element("circle", dot));
      const band = line.low && Number.isFinite(value) ? ` (${number(line.low[i])} to ${number(line.high[i])})` : "";
      const apart = line.x[i] === at ? "" : ` at ${number(line.x[i])}`;
      rows.push({ value, line, band, apart });
    }
    rows.sort((a, b) => b.value - a.value || 0);
    const body = rows.map(({ value, line, band, apart }) => {
      const swatch = element("svg", { class: "swatch", viewBox: "0 0 34 10", "aria-hidden": "true" });
      const dashes = DASHES[line.style % DASHES.length] || "none";
      swatch.append(element("path", { class: `line c${line.style % COLOURS}`, d: "M1 5H33", "stroke-dasharray": dashes }));
      const shown = element("td", { class: "value" }, number(value, 5), element("small", {}, band + apart));
      return element("tr", {}, element("td", {}, swatch), element("td", {}, line.name), shown);
    });
    this.tip.replaceChildren(element("b", {}, `${words(this.x)}: ${number(at, 6)}`), element("table", {}, element("tbody", {}, ...body)));
    const left = here + 14 + this.tip.offsetWidth > this.width ? here - 14 - this.tip.offsetWidth : here + 14;
    this.tip.style.left = `${Math.max(0, Math.min(left, this.width - this.tip.offsetWidth))}px`;
    // On a narrow screen it would hide the chart.
    const top = this.width < 500 ? box.bottom + 50 : Math.max(0, Math.min(height + 14, box.bottom - this.tip.offsetHeight));
    this.tip.style.top = `${top}px`;
  }

  // The chart as it looks now, with its legend, as a file.
  save() {
    this.show(null);
    const live = this.plot.querySelector("svg");
    const [, , width, height] = live.getAttribute("viewBox").split(" ").map(Number);
    const rows = this.shown.map((line, i) => {
      const at = height + 14 + 20 * i;
      const dashes = DASHES[line.style % DASHES.length] || "none";
      const sample = { class: `line c${line.style % COLOURS}`, d: `M${this.box.left} ${at}h34`, "stroke-dasharray": dashes };
      return element("g", {}, element("path", sample), element("text", { x: this.box.left + 44, y: at + 4 }, line.name));
    });
    live.append(...rows);
    const copy = live.cloneNode(true);
    const styled = [...live.querySelectorAll("*")];
    const properties = ["fill", "stroke", "stroke-width", "opacity", "font", "stroke-linecap", "stroke-linejoin"];
    [...copy.querySelectorAll("*")].forEach((node, i) => {
      const computed = getComputedStyle(styled[i]);
      node.setAttribute("style", properties.map((name) => `${name}:${computed.getPropertyValue(name)}`).join(";"));
    });
    rows.forEach((row) => row.remove());
    const total = height + 20 * rows.length + 12;
    const paper = getComputedStyle(this.figure.closest("section")).backgroundColor;
    copy.prepend(element("rect", { width, height: total, style: `fill:${paper}` }));
    for (const [name, value] of Object.entries({ width, height: total, viewBox: `0 0 ${width} ${total}` })) copy.setAttribute(name, value);
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    const url = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" }));
    element("a", { href: url, download: `${this.figure.id}.svg` }).click();
    URL.revokeObjectURL(url);
  }
}

const { charts } = JSON.parse(document.getElementById("data").textContent);
const drawn = charts.map((chart) => new Chart(document.getElementById(chart.id), chart));

// On paper charts are as wide as the text, and their words as large.
addEventListener("beforeprint", () => drawn.forEach((chart) => chart.draw(680)));
addEventListener("afterprint", () => drawn.forEach((chart) => chart.draw()));
