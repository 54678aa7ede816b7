const dark = matchMedia("(prefers-color-scheme: dark)");
function coloured(chart) {
  const style = getComputedStyle(document.documentElement);
  return JSON.parse(JSON.stringify(chart), (key, value) =>
    typeof value === "string" && /^--[a-z]+$/.test(value) ? style.getPropertyValue(value).trim() || value : value);
}
function drawOne(id) {
  const { data, layout } = coloured(drawn[id]);
  Plotly.react("chart-" + id, data, layout, { responsive: true, displayModeBar: false });
}
function draw() { Object.keys(drawn).forEach(drawOne); }
draw();
dark.addEventListener("change", draw);
for (const [event, light] of [["beforeprint", true], ["afterprint", false]])
  addEventListener(event, () => { document.documentElement.classList.toggle("printing", light); draw(); });
for (const list of document.querySelectorAll("select[data-chart]"))
  list.addEventListener("change", () => {
    for (const trace of drawn[list.dataset.chart].data) trace.visible = trace.name === list.value;
    drawOne(list.dataset.chart);
  });
const key = cell => "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
function order(head) {
  const column = head.cellIndex, body = head.closest("table").tBodies[0];
  const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
  const rows = [...body.rows].map(row => [key(row.cells[column]), row]);
  rows.sort(([a], [b]) => a === "" ? 1 : b === "" ? -1 : down * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b))));
  for (const [, row] of rows) body.append(row);
}
for (const head of document.querySelectorAll("thead th")) {
  head.addEventListener("click", () => order(head));
  head.addEventListener("keydown", event => { if (event.key === "Enter") order(head); });
}
