"use strict";
/* Draws the charts in the page's colours, toggles the theme, sorts tables, and opens findings and sources for print.
   Without it the page is whole but for the charts. */
(() => {
  const root = document.documentElement;
  const dataElement = document.getElementById("chart-data");
  const charts = dataElement && typeof Plotly !== "undefined" ? JSON.parse(dataElement.textContent) : {};
  const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
  const config = {
    responsive: true,
    displayModeBar: "hover",
    displaylogo: false,
    showSendToCloud: false,
    showEditInChartStudio: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
  };

  /* --- theme --- */
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);
  const coloured = (value, styles) => {
    if (typeof value === "string" && value.startsWith("var(--")) {
      return styles.getPropertyValue(value.slice(4, -1)).trim();
    }
    if (Array.isArray(value)) return value.map((item) => coloured(item, styles));
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item, styles)]));
    }
    return value;
  };
  const draw = () => {
    const styles = getComputedStyle(root);
    for (const place of document.querySelectorAll("[data-chart]")) {
      const figure = charts[place.dataset.chart];
      if (!figure) continue;
      const { data, layout } = coloured(figure, styles);
      Plotly.react(place, data, layout, config);
    }
  };
  const themeButton = document.getElementById("theme");
  const name = () => {
    themeButton.textContent = isDark() ? "Light" : "Dark";
    themeButton.setAttribute("aria-label", `Show the page in ${isDark() ? "light" : "dark"} colours`);
  };
  themeButton.hidden = false;
  themeButton.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    name();
    draw();
  });
  systemDark.addEventListener("change", () => {
    name();
    draw();
  });

  /* --- tables: a button in each heading, numbers by their value, texts as people sort them --- */
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  };
  const collator = new Intl.Collator("en", { numeric: true }); /* many times as fast as localeCompare */
  const compare = (a, b) => {
    if (a === b) return 0;
    if (a === "") return 1; /* what is unknown stands last in both directions */
    if (b === "") return -1;
    if (typeof a === "number" && typeof b === "number") return a - b;
    return collator.compare(String(a), String(b));
  };
  const sort = (table, heading, column) => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const keyed = Array.from(body.rows, (row) => [key(row, column), row]);
    keyed.sort(([a], [b]) => (down && a !== "" && b !== "" ? compare(b, a) : compare(a, b)));
    body.append(...keyed.map(([, row]) => row));
  };
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    Array.from(table.tHead.rows[0].cells).forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      button.addEventListener("click", () => sort(table, heading, column));
      heading.replaceChildren(button);
    });
  }

  /* --- large tables: all rows are in the page's data, some at a time in its table; search and sort over all --- */
  const AT_ONCE = 500;
  const WORTH_SEARCHING = 15;
  const written = (value, isNumber) => {
    if (value === null) return "";
    return isNumber ? value.toLocaleString("en-US") : value;
  };
  for (const place of document.querySelectorAll("[data-large]")) {
    const rows = JSON.parse(document.getElementById(`rows-${place.dataset.large}`).textContent);
    const table = place.querySelector("table");
    const headings = Array.from(table.tHead.rows[0].cells);
    const isNumber = headings.map((heading) => heading.classList.contains("number"));
    const texts = rows.map((row) => row.join("\u0000").toLowerCase());
    const field = place.querySelector("input");
    const status = place.querySelector("[role=status]");
    let order = Array.from(rows.keys());
    const fill = () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      const found = words.length ? order.filter((index) => words.every((word) => texts[index].includes(word))) : order;
      table.tBodies[0].replaceChildren(
        ...found.slice(0, AT_ONCE).map((index) => {
          const line = document.createElement("tr");
          rows[index].forEach((value, column) => {
            const cell = line.insertCell();
            if (isNumber[column]) cell.className = "number";
            cell.textContent = written(value, isNumber[column]);
          });
          return line;
        }),
      );
      const shown = Math.min(found.length, AT_ONCE).toLocaleString("en-US");
      status.textContent = `${shown} of ${found.length.toLocaleString("en-US")} ${words.length ? "found" : "rows"}`;
    };
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      button.addEventListener("click", () => {
        const down = heading.getAttribute("aria-sort") === "ascending";
        for (const other of headings) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (index) => rows[index][column] ?? "";
        const either = (a, b) => (down && key(a) !== "" && key(b) !== "" ? compare(key(b), key(a)) : compare(key(a), key(b)));
        order = order.slice().sort(either);
        fill();
      });
      heading.replaceChildren(button);
    });
    field.addEventListener("input", fill);
    place.querySelector(".found").hidden = rows.length < WORTH_SEARCHING;
    fill();
  }

  /* --- links into closed findings, and print --- */
  const reveal = () => {
    const target = location.hash.length > 1 ? document.getElementById(location.hash.slice(1)) : null;
    if (target instanceof HTMLDetailsElement) target.open = true;
  };
  window.addEventListener("hashchange", reveal);
  let before = null;
  window.addEventListener("beforeprint", () => {
    const closed = Array.from(document.querySelectorAll("details:not(.quiet):not([open])"));
    before = { theme: root.dataset.theme, closed };
    for (const element of closed) element.open = true;
    root.dataset.theme = "light";
    draw();
  });
  window.addEventListener("afterprint", () => {
    if (before === null) return;
    for (const element of before.closed) element.open = false;
    if (before.theme === undefined) delete root.dataset.theme;
    else root.dataset.theme = before.theme;
    before = null;
    draw();
  });

  name();
  reveal();
  draw();
})();
