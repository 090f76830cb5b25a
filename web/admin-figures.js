/**
 * Figures out of Prometheus's text format. In: what `/metrics` says. Out: values, histograms with estimated quantiles,
 * and their bars as SVG. It asks nobody and knows no sentence.
 */

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {{labels: Record<string, string>, value: number}} Sample */
/** @typedef {{bounds: number[], counts: number[], total: number}} Histogram  bounds in seconds, the last one Infinity */

/** @param {string} text @returns {Map<string, Sample[]>} the samples by name */
export function parseMetrics(text) {
  const all = new Map();
  for (const line of text.split("\n")) {
    const found = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!found) continue;
    const [, name, inside = "", value] = found;
    const labels = Object.fromEntries(
      [...inside.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label, said]) => [label, said.replace(/\\(.)/g, "$1")]),
    );
    if (!all.has(name)) all.set(name, []);
    all.get(name).push({ labels, value: value === "+Inf" ? Infinity : Number(value) });
  }
  return all;
}

/**
 * One value, or `undefined`.
 * @param {Map<string, Sample[]>} metrics @param {string} name @param {Record<string, string>} [labels]
 */
export function value(metrics, name, labels = {}) {
  const fits = (/** @type {Sample} */ sample) => Object.entries(labels).every(([label, said]) => sample.labels[label] === said);
  return metrics.get(name)?.find(fits)?.value;
}

/**
 * @param {Map<string, Sample[]>} metrics @param {string} name @param {Record<string, string>} [labels]
 * @returns {Histogram | null} null while nothing was counted
 */
export function histogram(metrics, name, labels = {}) {
  const fits = (/** @type {Sample} */ sample) => Object.entries(labels).every(([label, said]) => sample.labels[label] === said);
  const buckets = (metrics.get(`${name}_bucket`) ?? []).filter(fits)
    .map((sample) => ({ bound: sample.labels.le === "+Inf" ? Infinity : Number(sample.labels.le), upTo: sample.value }))
    .sort((a, b) => a.bound - b.bound);
  const total = buckets.at(-1)?.upTo ?? 0;
  if (!total) return null;
  return {
    bounds: buckets.map(({ bound }) => bound),
    counts: buckets.map(({ upTo }, i) => upTo - (buckets[i - 1]?.upTo ?? 0)),
    total,
  };
}

/**
 * A quantile in seconds, estimated as Prometheus does: evenly within its bucket.
 * @param {Histogram} of @param {number} share  0 to 1
 */
export function quantile({ bounds, counts, total }, share) {
  let rest = share * total;
  for (let i = 0; i < counts.length; i++) {
    const below = bounds[i - 1] ?? 0;
    if (rest <= counts[i] && counts[i] > 0) return Number.isFinite(bounds[i]) ? below + (bounds[i] - below) * (rest / counts[i]) : below;
    rest -= counts[i];
  }
  return bounds.at(-2) ?? 0;
}

/** @param {string} name @param {Record<string, string | number>} attributes */
export function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [attribute, said] of Object.entries(attributes)) element.setAttribute(attribute, String(said));
  return element;
}

/** A bucket's bound as a tick: 0.65 is ".65". @param {number} bound */
const tick = (bound) => String(bound).replace(/^0\./, ".");

/**
 * Draws a histogram into an SVG: a bar a bucket, as wide as each other, and a line where each of `marks` (seconds) lies.
 * @param {SVGElement} svg @param {Histogram} of
 * @param {{width: number, height: number, ticks: boolean, marks: {share: number, at: number}[]}} how
 */
export function drawBars(svg, { bounds, counts }, { width, height, ticks, marks }) {
  const foot = ticks ? 22 : 0, top = marks.length ? 18 : 0, step = width / counts.length, most = Math.max(...counts);
  svg.setAttribute("viewBox", `0 0 ${width} ${height + foot}`);
  const parts = counts.map((count, i) => {
    const tall = count ? Math.max(2, (count / most) * (height - top)) : 0;
    return shape("rect", { class: "bar", x: i * step + 1, y: height - tall, width: Math.max(1, step - 2), height: tall, rx: Math.min(3, step / 6) });
  });
  parts.push(shape("line", { class: "ground", x1: 0, x2: width, y1: height, y2: height }));
  marks.forEach(({ share, at }, place) => {
    const i = bounds.findIndex((bound) => at <= bound), below = bounds[i - 1] ?? 0;
    const within = Number.isFinite(bounds[i]) ? (at - below) / (bounds[i] - below) : 0;
    const x = (i + within) * step;
    parts.push(shape("line", { class: "mark", x1: x, x2: x, y1: 0, y2: height }));
    // The first one's name stands on its left, so that two close ones stay apart.
    const name = shape("text", { x: place ? x + 4 : x - 4, y: 10, "text-anchor": place ? "start" : "end" });
    name.textContent = `p${share}`;
    parts.push(name);
  });
  if (ticks) {
    const every = step < 30 ? 2 : 1;
    bounds.slice(0, -1).forEach((bound, i) => {
      if (i % every) return;
      const label = shape("text", { x: (i + 1) * step, y: height + 16, "text-anchor": "middle" });
      label.textContent = i === bounds.length - 2 ? `${tick(bound)} s` : tick(bound);
      parts.push(label);
    });
  }
  svg.replaceChildren(...parts);
}

/**
 * A line of the latest values.
 * @param {SVGElement} svg @param {number[]} values  0 to 1 @param {number} most  how many fit
 */
export function drawTrend(svg, values, most) {
  svg.setAttribute("viewBox", `0 0 ${most - 1} 20`);
  const from = most - values.length;
  const points = values.map((at, i) => `${from + i},${(19 - Math.min(1, Math.max(0, at)) * 18).toFixed(1)}`);
  svg.replaceChildren(shape("polyline", { points: points.join(" "), "vector-effect": "non-scaling-stroke" }));
}
