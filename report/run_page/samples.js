const place = document.getElementById("place"), year = document.getElementById("year"), kind = document.getElementById("notable");
const byPlace = Map.groupBy ? Map.groupBy(browsed.samples, one => one.place) : browsed.samples.reduce(
  (found, one) => found.set(one.place, [...(found.get(one.place) || []), one]), new Map());
const option = (text, value) => { const one = new Option(text, value); return one; };
function fill(list, options) { list.replaceChildren(...options); }
const panels = drawn["sample-series"] ? drawn["sample-series"].data.length / 2 : 0;
function arrange() {  // as many panels in a row as the page is wide
  const { layout } = drawn["sample-series"], wide = document.getElementById("chart-sample-series").clientWidth;
  const columns = Math.max(1, Math.min(panels, 4, Math.floor(wide / 230))), rows = Math.ceil(panels / columns);
  const changed = layout.grid.columns !== columns;
  Object.assign(layout.grid, { rows, columns, ygap: 0.45 });
  layout.height = 60 + 200 * rows;
  return changed;
}
function show(one) {
  arrange();
  document.getElementById("sample-text").textContent = one.text;
  drawn["sample-series"].data.forEach((trace, at) => {
    const values = at % 2 ? one.completed && one.completed[(at - 1) / 2] : null;
    if (at % 2) [trace.x, trace.y] = values || [[], []];
    else [trace.x, trace.y] = [one.series[at / 2].map((_, step) => step), one.series[at / 2]];
  });
  drawOne("sample-series");
  if (drawn["sample-history"]) {
    const [past, forecast, truth] = drawn["sample-history"].data;
    [past.x, past.y] = one.history;
    const [pred, low, high] = one.forecast;
    [forecast.x, forecast.y] = [[one.year], [pred]];
    [forecast.error_y.array, forecast.error_y.arrayminus] = [[high - pred], [pred - low]];
    [truth.x, truth.y] = one.observed === null ? [[], []] : [[one.year], [one.observed]];
    const years = one.history[0].concat(one.year);
    drawn["sample-history"].layout.xaxis.range = [Math.min(...years) - 0.7, Math.max(...years) + 0.7];
    drawn["sample-history"].layout.xaxis.dtick = Math.ceil(years.length / 10) || 1;
    drawOne("sample-history");
  }
  if (drawn["sample-causes"]) {
    [drawn["sample-causes"].data[0].y, drawn["sample-causes"].data[0].x] = one.causes || [[], []];
    drawOne("sample-causes");
  }
  const plots = document.getElementById("sample-plots");
  plots.replaceChildren(...(one.plots || []).map(([address, caption]) => {
    const figure = document.createElement("figure"), image = new Image(), text = document.createElement("figcaption");
    [image.src, image.alt, text.textContent] = [address, "plot of " + caption, caption];
    figure.append(image, text);
    return figure;
  }));
  document.getElementById("no-plots").hidden = Boolean(one.plots);
}
function years(chosen) {
  fill(year, byPlace.get(place.value).map(one => option(String(one.year), one.key)));
  if (chosen) year.value = chosen;
}
const current = () => browsed.samples.find(one => one.key === year.value);
function goTo(key) {
  place.value = browsed.samples.find(one => one.key === key).place;
  years(key);
  show(current());
}
if (place) {
  fill(place, [...byPlace.keys()].map(name => option(name, name)));
  fill(kind, Object.entries(browsed.notable).flatMap(([name, keys]) => keys.map((key, at) => {
    const one = browsed.samples.find(sample => sample.key === key);
    return option(`${name} ${at + 1}: ${one.place}, ${one.year}`, key);
  })));
  kind.addEventListener("change", () => goTo(kind.value));
  place.addEventListener("change", () => { years(); kind.selectedIndex = -1; show(current()); });
  year.addEventListener("change", () => { kind.selectedIndex = -1; show(current()); });
  addEventListener("resize", () => { if (arrange()) drawOne("sample-series"); });
  goTo(kind.value);
}
