"use strict";
const all = (query, within = document) => [...within.querySelectorAll(query)];
const said = document.getElementById("said");
function tell(text) {
  said.textContent = text;
  setTimeout(() => { said.textContent = ""; }, 3000);
}
function copied(text) {
  const old = () => {
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    tell("copied");
  };
  if (!navigator.clipboard) return old();
  return navigator.clipboard.writeText(text).then(() => tell("copied"), old);
}
const cellText = (cell) => cell.textContent.replace(/\s+/g, " ").trim();
function tableLines(table) {
  const rows = all("tbody tr", table).filter((row) => !row.hidden);
  if (table.dataset.x) return [table.dataset.x, ...rows.map((row) => row.dataset.x || "")].filter(Boolean);
  const cells = (row) => [...row.cells].map((cell) => cell.dataset.v || cellText(cell)).join("\t");
  return [...all("thead tr", table), ...rows].map(cells);
}
function quoted(text) {
  // A spreadsheet takes what begins so for a formula.
  const safe = /^[=+@]/.test(text) || (text.startsWith("-") && isNaN(text)) ? "'" + text : text;
  return /[",\n]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
}
function save(name, lines) {
  const csv = lines.map((line) => line.split("\t").map(quoted).join(",")).join("\r\n") + "\r\n";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv], { type: "text/csv" }));
  link.download = name + ".csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
function sort(button) {
  const head = button.closest("th"), table = head.closest("table"), at = head.cellIndex;
  const down = head.getAttribute("aria-sort") === "descending";
  all("th[aria-sort]", table).forEach((each) => each.setAttribute("aria-sort", "none"));
  head.setAttribute("aria-sort", down ? "ascending" : "descending");
  const value = (row) => {
    const cell = row.cells[at];
    return cell.dataset.v === undefined ? cellText(cell) : cell.dataset.v;
  };
  const body = table.tBodies[0], sign = down ? 1 : -1;
  const keyed = [...body.rows].map((row) => [value(row), row]);
  const compare = ([a], [b]) => {
    // What has no value stays last, whichever way.
    if (a === "" || b === "") return (a === "") - (b === "");
    const both = a - b;
    return sign * (isNaN(both) ? a.localeCompare(b) : both);
  };
  keyed.sort(compare).forEach(([, row]) => body.append(row));
}
let kind = "";
function filter() {
  const table = document.getElementById("values");
  if (!table) return;
  const part = document.getElementById("containing").value.toLowerCase();
  let count = 0;
  all("tbody tr", table).forEach((row) => {
    const fits = !kind || row.dataset.k.split(" ").includes(kind);
    row.hidden = !(fits && (!part || row.textContent.toLowerCase().includes(part)));
    count += !row.hidden;
  });
  document.getElementById("shown").textContent = count + " of " + table.tBodies[0].rows.length + " shown";
  all("[data-filter]").forEach((each) => each.setAttribute("aria-pressed", String(each.dataset.filter === kind)));
}
const POINT = /^(.*?), ([A-Za-z0-9]+)=(\S+): (\S+?)(?: \((\S+) to (\S+)\))?$/;
function pointsOf(figure) {
  const titles = all("svg title", figure).map((title) => title.textContent);
  const found = titles.map((title) => POINT.exec(title));
  const first = found.find(Boolean);
  const columns = first ? ["name", first[2], "value", "low", "high"] : ["what is drawn"];
  const cells = titles.map((title, place) => {
    if (!first) return [title];
    const point = found[place];
    return point ? [point[1], ...point.slice(3).map((each) => each || "")] : [title, "", "", "", ""];
  });
  return [columns, ...cells];
}
function show(button) {
  const open = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!open));
  const figure = button.closest("figure"), old = figure.querySelector(".points");
  if (old) return old.remove();
  const cells = pointsOf(figure), box = document.createElement("div"), table = document.createElement("table");
  box.className = "points";
  cells.forEach((line, place) => {
    const row = table.insertRow();
    line.forEach((text) => {
      const cell = document.createElement(place ? "td" : "th");
      cell.textContent = text;
      row.append(cell);
    });
  });
  const copy = document.createElement("button");
  copy.type = "button";
  copy.textContent = "copy as TSV";
  copy.addEventListener("click", () => copied(cells.map((line) => line.join("\t")).join("\n")));
  box.append(copy, table);
  box.tabIndex = 0;
  figure.append(box);
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const data = button.dataset;
  if (button.matches(".sort")) sort(button);
  else if (button.matches(".show")) show(button);
  else if (button.matches(".copied")) copied(button.previousElementSibling.textContent);
  else if (data.copy) copied(tableLines(document.getElementById(data.copy)).join("\n"));
  else if (data.save) save(data.save, tableLines(document.getElementById(data.save)));
  else if (data.filter !== undefined) {
    kind = data.filter;
    filter();
  }
});
const containing = document.getElementById("containing");
if (containing) {
  containing.addEventListener("input", filter);
  kind = document.querySelector('[data-filter="deciding"]') ? "deciding" : "";
  filter();
}
// On paper nothing is folded, and nothing is filtered.
let folded = [];
addEventListener("beforeprint", () => {
  folded = all("details:not([open])");
  folded.forEach((each) => { each.open = true; });
});
addEventListener("afterprint", () => folded.forEach((each) => { each.open = false; }));
document.documentElement.classList.add("live");
