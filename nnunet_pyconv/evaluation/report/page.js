"use strict";

// Sorting: a click or the keyboard on a column's title; numbers that are missing stay at the end.
const opposite = { ascending: "descending", descending: "ascending" };

function sortBy(header) {
  const table = header.closest("table");
  const column = [...header.parentElement.children].indexOf(header);
  const before = header.getAttribute("aria-sort");
  const direction = opposite[before] ?? header.dataset.first;
  const sign = direction === "ascending" ? 1 : -1;
  const key = (row) => row.children[column].dataset.value;
  const compare = header.classList.contains("number")
    ? (a, b) => {
        const [x, y] = [Number(key(a)), Number(key(b))];
        return Number.isNaN(x) - Number.isNaN(y) || sign * (x - y) || 0;
      }
    : (a, b) => sign * key(a).localeCompare(key(b), "en", { numeric: true });
  for (const other of header.parentElement.children) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", direction);
  const body = table.tBodies[0];
  body.append(...[...body.rows].sort(compare));
}

for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}

// Comparing: the slider moves the line, the choices say what lies left and right of it.
for (const figure of document.querySelectorAll(".compare")) {
  const stage = figure.querySelector(".stage");
  const slider = stage.querySelector("input[type=range]");
  slider.addEventListener("input", () => stage.style.setProperty("--at", `${slider.value}%`));
  const chosen = (name) => figure.querySelector(`input[name^="${name}-"]:checked`).value;
  const show = () => {
    for (const picture of stage.querySelectorAll(".picture")) picture.hidden = picture.dataset.case !== chosen("case");
    for (const layer of stage.querySelectorAll(".left")) layer.hidden = layer.dataset.model !== chosen("model");
  };
  for (const radio of figure.querySelectorAll("input[type=radio]")) radio.addEventListener("change", show);
  show(); // a browser may restore earlier choices when it loads the page again
}
