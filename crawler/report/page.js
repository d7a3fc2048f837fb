// Draws a page's charts from its document, sorts its tables, switches light and dark.
"use strict";

const page = document.documentElement;
const main = document.querySelector("main");
const narrow = matchMedia("(max-width: 640px)");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const unit = main.dataset.unit;
const scaled = (ms) => (ms === null ? null : ms * Number(main.dataset.perMs));

async function inflated(id) {
  const packed = document.getElementById(id).textContent;
  const bytes = Uint8Array.from(atob(packed), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

// ---- what charts are made of

const probe = document.body.appendChild(document.createElement("span"));
probe.hidden = true;

function colour(name) {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

// A name as the tables have it, without the origin that all have in common.
const named = (name) => (name.startsWith(main.dataset.origin) ? name.slice(main.dataset.origin.length) : name);
const series = (i) => colour(`c${1 + (i % 8)}`);
const faint = (rgb) => rgb.replace("rgb(", "rgba(").replace(")", ", 0.22)");
// Plotly reads tags in names and labels; what stands in a list is none. What cannot be printed is
// shown as an escape, as in the tables.
const literal = (text) => text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (char) =>
  `\\u${char.codePointAt(0).toString(16).padStart(4, "0")}`).replace(/&/g, "&amp;").replace(/</g, "&lt;");
const unescaped = (text) => text.replace(/&lt;/g, "<").replace(/&amp;/g, "&");
const shortened = (text, room) =>
  text.length <= room ? text : `${text.slice(0, room / 2)}…${text.slice(1 - room / 2)}`;

function line(name, x, y, rgb, more) {
  const mode = x.length > 60 ? "lines" : "lines+markers";
  const style = { line: { color: rgb, width: 1.7 }, marker: { color: rgb, size: 5 } };
  return { type: "scatter", mode, name: literal(name), x, y, ...style, ...more };
}

function axis(title, more) {
  const lines = { gridcolor: colour("grid"), linecolor: colour("line"), zeroline: false };
  return { title: { text: title, standoff: 8 }, automargin: true, tickangle: 0, ...lines, ...more };
}

// How many times the largest of some figures holds the smallest.
function span(values) {
  const held = values.filter((value) => value > 0);
  return held.length ? Math.max(...held) / Math.min(...held) : 1;
}

const WIDE = 25; // a linear axis would flatten most of what spans more

function latencyAxis(values, logged, more) {
  if (!logged) return axis(unit, { rangemode: "tozero", ...more });
  const steps = span(values) > (narrow.matches ? 100 : 3000) ? [1] : [1, 2, 5];
  const tickvals = [...Array(13).keys()].flatMap((i) => steps.map((step) => +`${step}e${i - 5}`));
  return axis(unit, { type: "log", tickvals, ticktext: tickvals.map((x) => x.toLocaleString("en",
    { maximumFractionDigits: 5 })), ...more });
}

// ---- the charts of a report: each gives plotly's traces and layout

const MOST_RUNS = 8;
const runsOf = (report) => (report.runs.length > 1 ? report.runs.slice(-MOST_RUNS) : [report.total]);
const nameOf = (run) => run.run || "all";

// Events a second; none for a bin that the run hardly touched.
function perSecond(run, key) {
  return run.timeline.map((bin) => {
    const end = Math.min(bin.start_s + bin.width_s, run.ended_s);
    const seconds = end - Math.max(bin.start_s, run.started_s);
    return run.timeline.length > 1 && seconds < bin.width_s / 2 ? null : bin[key] / seconds;
  });
}

const OVER_TIME = { p50: "p50_ms", p95: "p95_ms", p99: "p99_ms" };
const namesOverTime = (report) => (report.runs.length > 1 ? ["p95"] : Object.keys(OVER_TIME));
timeline.values = (report) => runsOf(report).flatMap((run) =>
  namesOverTime(report).flatMap((name) => run.timeline.map((bin) => bin[OVER_TIME[name]])));

// Of one run its percentiles by the clock; of several the p95 of each from its own start.
function timeline(report, logged) {
  const runs = runsOf(report);
  const several = runs.length > 1;
  const traces = runs.flatMap((run, i) => {
    const x = run.timeline.map((bin) => several ? Math.max(0, bin.start_s - run.started_s)
      : 1000 * Math.max(bin.start_s, run.started_s));
    const style = (n) => (several ? series(i) : series(n));
    const latencies = namesOverTime(report).map((name, n) => line(several ? `${nameOf(run)} ${name}` : name,
      x, run.timeline.map((bin) => scaled(bin[OVER_TIME[name]])), style(n)));
    const failed = several ? series(i) : colour("bad");
    return [
      ...latencies,
      line("requests/s", x, perSecond(run, "requests"), style(3), { yaxis: "y2" }),
      line("failed/s", x, perSecond(run, "failed"), failed,
        { yaxis: "y3", line: { width: 1.5, dash: "dot", color: failed } }),
    ].map((trace) => (several ? { ...trace, legendgroup: nameOf(run) } : trace));
  });
  const time = several ? axis("seconds from each run's start") : axis("UTC", { type: "date", nticks: narrow.matches ? 3 : 12 });
  const rate = { rangemode: "tozero", nticks: 4, tickmode: "auto" };
  const none = runs.some((run) => run.failed) ? {} : { range: [0, 1], tickvals: [0] };
  return { traces, layout: {
    xaxis: { ...time, anchor: "y2" },
    yaxis: latencyAxis(timeline.values(report).map(scaled), logged, { domain: [0.36, 1] }),
    yaxis2: axis("requests/s", { ...rate, domain: [0, 0.27] }),
    yaxis3: axis("failed/s", { ...rate, overlaying: "y2", side: "right", showgrid: false, ...none }),
    hovermode: "x unified",
  } };
}

const NINES = { "0": 1, p50: 2, p75: 4, p90: 10, p95: 20, p99: 100, "p99.9": 1e3, "p99.99": 1e4,
  "p99.999": 1e5, "p99.9999": 1e6 };

function percentileAxis(last) {
  const crowded = [...(last > 2e4 || narrow.matches ? ["p75", "p95"] : []), ...(narrow.matches ? ["p50"] : [])];
  const shown = Object.entries(NINES).filter(([name, x]) => x <= last && !crowded.includes(name));
  return axis("percentile", { type: "log", tickvals: shown.map(([, x]) => x),
    ticktext: shown.map(([name]) => name) });
}

// The maximum is the value beyond which none lies: of n values, at 1 / (1/n).
function curve(name, points, count, rgb) {
  const x = points.map(({ fraction }) => (fraction < 1 ? 1 / (1 - fraction) : count));
  const text = points.map(({ fraction }) => (fraction < 1 ? `p${+(100 * fraction).toFixed(5)}` : "max"));
  const hovertemplate = `%{text}: %{y:.4~g} ${unit}`;
  return line(name, x, points.map(({ ms }) => scaled(ms)), rgb,
    { text, hovertemplate, mode: "lines" });
}

function percentiles(report, logged) {
  const kind = report.main_latency;
  const runs = runsOf(report);
  const traces = runs.map((run, i) => curve(
    runs.length > 1 ? nameOf(run) : `${kind} time`, run.curve, run[kind].count, series(i)));
  if (kind === "response" && runs.length === 1) {
    const held = Object.values(report.total.service.percentiles).filter((at) => at.value_ms !== null);
    traces.push(line("service time", held.map((at) => 1 / (1 - at.q)),
      held.map((at) => scaled(at.value_ms)), series(1),
      { mode: "markers", marker: { color: series(1), symbol: "diamond", size: 8 } }));
  }
  const last = Math.max(10, ...runs.map((run) => run[kind].count));
  const yaxis = latencyAxis(percentiles.values(report).map(scaled), logged);
  return { traces, layout: { xaxis: percentileAxis(last), yaxis } };
}
percentiles.values = (report) => runsOf(report).flatMap((run) => run.curve.map(({ ms }) => ms));

// The area is the number: a bar that is wider than the others, at the ends, is lower for it.
function histogram(report) {
  const bars = report.total.histogram;
  const edge = (ms) => scaled(Math.max(ms, 0.001));
  const x = bars.map((bar) => edge(bar.low_ms));
  x.push(Math.max(edge(bars[bars.length - 1].high_ms), 1.02 * x[x.length - 1]));
  const widths = bars.map((bar, i) => Math.log(x[i + 1] / x[i]));
  const usual = [...widths].sort((a, b) => a - b)[Math.floor(widths.length / 2)];
  const y = [...bars.map((bar, i) => bar.requests * Math.min(1, usual / widths[i])), 0];
  const text = bars.map((bar) => `${bar.requests.toLocaleString("en")} from ` +
    `${scaled(bar.low_ms).toPrecision(3)} to ${scaled(bar.high_ms).toPrecision(3)} ${unit}`);
  const trace = line("successes", x, y, series(0), { text: [...text, ""], mode: "lines",
    hovertemplate: "%{text}<extra></extra>", fill: "tozeroy", fillcolor: faint(series(0)),
    line: { shape: "hv", color: series(0), width: 1.5 } });
  return { traces: [trace], layout: {
    xaxis: latencyAxis(x, true), yaxis: axis("successes", { rangemode: "tozero" }) } };
}

const MOST_GROUPS = 15;

function phases(report) {
  const groups = report.groups.filter((group) => group.phases.wait_ms !== null).slice(0, MOST_GROUPS);
  const room = narrow.matches ? 18 : 44;
  const labels = groups.map(({ name }, i) => `${i + 1}. ${literal(shortened(named(name), room))}`);
  const traces = Object.keys(groups[0]?.phases ?? {}).map((key, i) => ({
    type: "bar", orientation: "h", name: key.replace("_ms", ""), y: labels, marker: { color: series(i) },
    x: groups.map((group) => scaled(group.phases[key])), hovertemplate: `%{x:.4~g} ${unit}`,
  }));
  return { traces, layout: { barmode: "stack", height: 110 + 26 * groups.length,
    xaxis: axis(unit), yaxis: axis("", { autorange: "reversed", gridcolor: "transparent" }) } };
}

const charts = { timeline, percentiles, histogram, phases };

// ---- drawing

function layoutOf(chart) {
  return {
    font: { family: "inherit", size: 12, color: colour("ink") },
    paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    margin: { l: 10, r: 10, t: 10, b: 10 }, showlegend: false,
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("ink") } },
    dragmode: narrow.matches ? false : "zoom",
    ...chart.layout,
  };
}

// A button for each name, or for each run, that shows its lines and hides them. It is HTML: it wraps
// on a phone, and the keyboard reaches it.
function legendOf(place, traces) {
  const groups = new Map();
  traces.forEach((trace, i) => {
    const name = trace.legendgroup ?? trace.name;
    groups.set(name, [...(groups.get(name) ?? []), i]);
  });
  const buttons = [...groups].map(([, held]) => {
    const { name, line: stroke, marker } = traces[held[0]];
    const button = Object.assign(document.createElement("button"), { type: "button" });
    const swatch = document.createElement("i");
    swatch.style.background = marker?.color ?? stroke.color;
    const label = document.createElement("span");
    label.textContent = unescaped(name);
    button.append(swatch, label);
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      const visible = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", visible);
      Plotly.restyle(place, { visible }, held);
    });
    return button;
  });
  const legend = place.parentNode.querySelector(".legend") ?? document.createElement("div");
  legend.className = "legend";
  legend.replaceChildren(...(buttons.length > 1 ? buttons : []));
  place.before(legend);
}

function draw(place, told) {
  const chart = charts[place.dataset.chart](told, place.dataset.log === "true");
  const config = { responsive: true, displaylogo: false, displayModeBar: false };
  legendOf(place, chart.traces);
  return Plotly.newPlot(place, chart.traces, layoutOf(chart), config);
}

function addLogSwitch(place, told) {
  const box = Object.assign(document.createElement("input"), { type: "checkbox" });
  box.checked = span(charts[place.dataset.chart].values(told)) > WIDE;
  place.dataset.log = box.checked;
  box.addEventListener("change", () => {
    place.dataset.log = box.checked;
    draw(place, told);
  });
  const label = Object.assign(document.createElement("label"), { className: "scaled" });
  label.append(box, " logarithmic");
  place.before(label);
}

async function drawAll() {
  const places = [...document.querySelectorAll("[data-chart]")];
  if (typeof DecompressionStream === "undefined") {
    places.forEach((place) => {
      place.classList.add("missing");
      place.textContent = "Charts need a browser of 2023 or later; the tables hold the figures.";
    });
    return;
  }
  const script = document.createElement("script");
  script.textContent = await inflated("plotly");
  document.head.append(script);
  const told = JSON.parse(await inflated("document"));
  places.filter((place) => charts[place.dataset.chart].values).forEach((place) => addLogSwitch(place, told));
  const again = () => Promise.all(places.map((place) => draw(place, told)));
  await again();
  prefersDark.addEventListener("change", again);
  narrow.addEventListener("change", again);
  document.addEventListener("themed", again);
}

// ---- tables

// Largest first, then the other way round; names from A on. What has no figure stays last.
function sortBy(heading) {
  const table = heading.closest("table");
  const at = heading.cellIndex;
  const keyOf = (row) => row.cells[at].dataset.value;
  const rows = [...table.tBodies[0].rows];
  const numbers = rows.every((row) => !Number.isNaN(Number(keyOf(row) ?? 0)));
  const before = heading.getAttribute("aria-sort");
  const falls = before === null ? numbers : before === "ascending";
  const order = (a, b) => {
    const [left, right] = [keyOf(a), keyOf(b)];
    if (left === undefined || right === undefined) return (left === undefined) - (right === undefined);
    const difference = numbers ? left - right : left.localeCompare(right);
    return falls ? -difference : difference;
  };
  table.tBodies[0].append(...rows.sort(order));
  table.querySelectorAll("th").forEach((each) => each.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", falls ? "descending" : "ascending");
}

document.querySelectorAll("thead button").forEach((button) =>
  button.addEventListener("click", () => sortBy(button.closest("th"))));

// ---- light and dark

const theme = document.getElementById("theme");
const isDark = () => (page.style.colorScheme || (prefersDark.matches ? "dark" : "light")) === "dark";
const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; };

theme.addEventListener("click", () => {
  page.style.colorScheme = isDark() ? "light" : "dark";
  nameTheme();
  document.dispatchEvent(new Event("themed"));
});
prefersDark.addEventListener("change", nameTheme);
nameTheme();
theme.hidden = false;

const drawn = drawAll();
