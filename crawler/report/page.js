// Draws a page's charts (charts.js) from its document, sorts its tables, switches light and dark.
"use strict";

const page = document.documentElement;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");

async function inflated(id) {
  const packed = document.getElementById(id).textContent;
  const bytes = Uint8Array.from(atob(packed), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

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
  if (!places.length) return;
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
