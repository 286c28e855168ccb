"use strict";
(() => {
  const number = (text) => {
    const found = text.replace(/−/g, "-").replace(/[≥>≤<\s,]/g, "").match(/^[+-]?\d+(\.\d+)?(e[+-]?\d+)?/i);
    return found ? Number(found[0]) : NaN;
  };
  const key = (row, column) => row.cells[column].textContent.trim();
  const compare = (a, b) => {
    const x = number(a), y = number(b);
    if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
    return a.localeCompare(b, undefined, { numeric: true });
  };
  const sort = (table, heading, column) => {
    const rising = heading.getAttribute("aria-sort") !== "ascending";
    table.querySelectorAll("thead th").forEach((th) => th.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => (rising ? 1 : -1) * compare(key(a, column), key(b, column)));
    table.tBodies[0].append(...rows);
  };
  document.querySelectorAll("table.sortable").forEach((table) => {
    table.querySelectorAll("thead th[data-column]").forEach((heading) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sort(table, heading, Number(heading.dataset.column)));
    });
  });
  const dialog = document.createElement("dialog");
  dialog.className = "zoom";
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "Close";
  const large = document.createElement("img");
  dialog.append(close, large);
  document.body.append(dialog);
  dialog.addEventListener("click", (event) => {
    if (event.target !== large) dialog.close();
    else large.classList.toggle("full");
  });
  document.querySelectorAll(".plot").forEach((plot) => {
    const image = plot.querySelector("img");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "enlarge";
    button.setAttribute("aria-label", "Enlarge: " + plot.getAttribute("aria-label"));
    image.replaceWith(button);
    button.append(image);
    button.addEventListener("click", () => {
      large.src = image.src;
      large.alt = image.alt;
      large.className = image.className;
      dialog.showModal();
    });
  });
})();
