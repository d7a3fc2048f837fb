// What a page's charts show: from its document to plotly's traces and layouts. Nothing is drawn here.
"use strict";

const main = document.querySelector("main");
const narrow = matchMedia("(max-width: 640px)");
const unit = main.dataset.unit;
const scaled = (ms) => (ms === null ? null : ms * Number(main.dataset.perMs));

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

// ---- the chart of a comparison

const MOST_CHANGES = 30;
const VERDICTS = { slower: "bad", faster: "c4", "no difference shown": "c6", "too few samples": "c6" };

// Each endpoint's change and its bounds; what could not be compared has none.
function changes(comparison) {
  const percent = (share) => (share === null ? null : 100 * share);
  const rows = [comparison.total, ...comparison.endpoints.slice(0, MOST_CHANGES)];
  const room = narrow.matches ? 18 : 44;
  const at = (row) => row.changes[comparison.metric];
  const labels = rows.map(({ name }, i) =>
    (i ? `${i}. ${literal(shortened(named(name), room))}` : "<b>total</b>"));
  const traces = Object.keys(VERDICTS).map((verdict) => {
    const held = rows.map((row, i) => i).filter((i) => rows[i].verdict === verdict);
    const of = (key) => held.map((i) => percent(at(rows[i])[key]));
    const x = of("relative");
    const beside = (key) => of(key).map((bound, n) => (bound === null ? 0 : Math.abs(bound - x[n])));
    const color = colour(VERDICTS[verdict]);
    return { type: "scatter", mode: "markers", name: verdict, x, y: held.map((i) => labels[i]),
      marker: { color, size: 9 }, hovertemplate: "%{x:+.3~g} %",
      error_x: { type: "data", symmetric: false, array: beside("relative_high"),
        arrayminus: beside("relative_low"), color, thickness: 2 } };
  }).filter((trace) => trace.x.length);
  const limit = percent(comparison.threshold);
  const mark = (x, dash) => ({ type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper",
    line: { color: colour("dim"), width: 1, dash } });
  return { traces, layout: { height: 110 + 26 * rows.length, shapes: [mark(0, "solid"), mark(limit, "dot")],
    xaxis: axis(`change of ${comparison.metric}, %`),
    yaxis: axis("", { categoryorder: "array", categoryarray: labels, autorange: "reversed" }) } };
}

const charts = { timeline, percentiles, histogram, phases, changes };
