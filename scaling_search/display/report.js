"use strict";
(() => {
  const SHOWN_ROWS = 10;
  const page = document.documentElement;
  page.classList.add("js");

  // Tables: sorted by a click on a header, the first rows until all are asked for.

  const number = (text) => Number.parseFloat(text.replaceAll(",", ""));

  /** Order of two cells: words before numbers, numbers by value. */
  const compare = (a, b) => {
    const [x, y] = [number(a), number(b)];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(y) - Number.isNaN(x);
    return x - y || a.localeCompare(b, "en", { numeric: true });
  };

  const sort = (table, header) => {
    const column = header.cellIndex;
    const falls = header.ariaSort === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", falls ? "descending" : "ascending");
    const cell = (row) => row.cells[column].textContent;
    const rows = [...table.tBodies[0].rows];
    const isKnown = (row) => cell(row) !== "–"; // what is not known stands last either way
    const known = rows.filter(isKnown).sort((a, b) => compare(cell(a), cell(b)));
    if (falls) known.reverse();
    table.tBodies[0].append(...known, ...rows.filter((row) => !isKnown(row)));
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const header of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      button.addEventListener("click", () => sort(table, header));
      header.append(button);
    }
    const rows = table.tBodies[0].rows;
    for (const row of rows) row.tabIndex = 0;
    if (rows.length > SHOWN_ROWS + 1) {
      const more = document.createElement("button");
      more.type = "button";
      more.className = "more";
      const name = () => {
        const isFew = table.classList.contains("few");
        more.textContent = isFew ? `Show all ${rows.length} rows` : `Show ${SHOWN_ROWS + 1} rows`;
      };
      more.addEventListener("click", () => {
        table.classList.toggle("few");
        name();
      });
      name();
      table.parentElement.after(more);
    }
  }

  // Networks: one that is pointed at is marked everywhere, and a card says what it is.

  // Thin lines and small points are met from near by.
  for (const shape of document.querySelectorAll("svg [data-network]")) {
    const svg = shape.ownerSVGElement;
    const near = document.createElementNS(svg.namespaceURI, "g");
    near.classList.add("near");
    near.dataset.network = shape.dataset.network;
    for (const part of shape.querySelectorAll("use, path:not(defs *)")) {
      const isPoint = part.tagName === "use";
      const wide = isPoint ? document.createElementNS(svg.namespaceURI, "circle") : part.cloneNode();
      wide.removeAttribute("style");
      if (isPoint) {
        const { x, y } = part;
        for (const [name, value] of [["cx", x.baseVal.value], ["cy", y.baseVal.value], ["r", 8]]) {
          wide.setAttribute(name, value);
        }
      }
      near.append(wide);
    }
    svg.prepend(near);
  }

  const shapes = new Map(); // all that is drawn of each network
  const rows = new Map(); // where its numbers stand
  for (const element of document.querySelectorAll("[data-network]")) {
    const name = element.dataset.network;
    shapes.set(name, [...(shapes.get(name) ?? []), element]);
    const isBetter = element.closest("table.sortable") !== null;
    if (element.tagName === "TR" && (isBetter || !rows.has(name))) rows.set(name, element);
  }

  const card = document.createElement("div");
  card.className = "card";
  card.setAttribute("role", "status");
  card.hidden = true;
  document.body.append(card);
  let shown = null;

  const hide = () => {
    for (const element of shapes.get(shown) ?? []) element.classList.remove("on");
    card.hidden = true;
    shown = null;
  };

  const fill = (row) => {
    const header = row.closest("table").tHead.rows[0];
    const title = document.createElement("strong");
    const kind = header.cells[0].textContent;
    const first = row.cells[0].textContent;
    title.textContent = `${kind[0].toUpperCase()}${kind.slice(1)} ${first}`;
    if (row.dataset.network === "0") title.textContent = "Base network";
    const list = document.createElement("dl");
    for (const cell of row.cells) {
      const named = header.cells[cell.cellIndex];
      if (!("card" in named.dataset)) continue;
      const [term, value] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = named.textContent;
      value.textContent = cell.textContent;
      list.append(term, value);
    }
    card.replaceChildren(title, list);
  };

  const move = (x, y) => {
    const [width, height] = [card.offsetWidth, card.offsetHeight];
    const left = x + 18 + width > innerWidth ? x - 18 - width : x + 18;
    const top = y + 18 + height > innerHeight ? y - 18 - height : y + 18;
    card.style.left = `${Math.max(8, left)}px`;
    card.style.top = `${Math.max(8, top)}px`;
  };

  const show = (name, x, y) => {
    if (name !== shown) {
      hide();
      if (!rows.has(name)) return;
      shown = name;
      for (const element of shapes.get(name)) element.classList.add("on");
      fill(rows.get(name));
      card.hidden = false;
    }
    move(x, y);
  };

  const showAt = (name, element) => {
    const place = element.getBoundingClientRect();
    show(name, place.left + Math.min(place.width, 120), place.bottom);
  };

  for (const event of ["pointerover", "pointermove"]) {
    document.addEventListener(event, ({ target, clientX, clientY }) => {
      const found = target.closest?.("[data-network]");
      if (found) show(found.dataset.network, clientX, clientY);
      else if (shown !== null) hide();
    });
  }
  document.addEventListener("focusin", ({ target }) => {
    if (target.matches("tr[data-network]")) showAt(target.dataset.network, target);
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", ({ key }) => {
    if (key === "Escape") hide();
  });

  for (const figure of document.querySelectorAll("figure svg")) {
    const found = new Set();
    for (const one of figure.querySelectorAll("[data-network]:not(.near)")) {
      if (rows.has(one.dataset.network)) found.add(one.dataset.network);
    }
    const order = [...found].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    if (!order.length) continue;
    figure.tabIndex = 0;
    figure.ariaLabel += "; arrow keys go through its networks";
    figure.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const now = order.indexOf(shown);
      const next = now < 0 ? 0 : (now + step + order.length) % order.length;
      const own = (one) => one.dataset.network === order[next];
      showAt(order[next], [...figure.querySelectorAll("[data-network]:not(.near)")].find(own));
    });
  }

  // Folded parts: open where a link leads there, and on paper.

  const reach = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target?.tagName === "DETAILS") target.open = true;
  };
  addEventListener("hashchange", reach);
  reach();
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of folded) one.open = false;
  });
})();
