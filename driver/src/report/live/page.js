(() => {
  const note = document.getElementById("connection");
  const pause = document.getElementById("pause");
  const url = new URL(location.href);
  url.hash = "";
  url.searchParams.set("part", "1");
  let live = document.getElementById("live");
  let paused = false, failures = 0, wait = 1000;
  // Changes what differs only, so that scroll positions, open parts, focus and selections stay.
  const change = (from, to) => {
    if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) {
      from.replaceWith(to);
      return;
    }
    if (from.nodeType !== Node.ELEMENT_NODE) {
      if (from.data !== to.data) from.data = to.data;
      return;
    }
    for (const { name, value } of [...to.attributes])
      if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    for (const { name } of [...from.attributes])
      if (name !== "open" && !to.hasAttribute(name)) from.removeAttribute(name);
    // Elements with an id are found by it, so that a part that comes or goes moves no other.
    const ids = new Set([...to.children].map((child) => child.id));
    for (const child of [...from.children]) if (child.id && !ids.has(child.id)) child.remove();
    const known = new Map([...from.children].filter((child) => child.id).map((child) => [child.id, child]));
    let next = from.firstChild;
    for (const child of [...to.childNodes]) {
      const same = child.id ? known.get(child.id) : next && !next.id ? next : null;
      if (!same) {
        from.insertBefore(child, next);
        continue;
      }
      if (same === next) next = next.nextSibling;
      else from.insertBefore(same, next);
      change(same, child);
    }
    while (next) {
      const rest = next.nextSibling;
      next.remove();
      next = rest;
    }
  };
  const say = (text) => { if (note.textContent !== text) note.textContent = text; };
  const update = async () => {
    const began = performance.now();
    const response = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(15000) });
    if (!response.ok) throw new Error(response.statusText);
    const text = await response.text();
    const next = new DOMParser().parseFromString(text, "text/html").getElementById("live");
    document.title = next.dataset.title;
    change(live, next);
    wait = Math.max(1000, 10 * (performance.now() - began));
  };
  const loop = async () => {
    if (!paused) {
      try {
        await update();
        failures = 0;
        say("");
      } catch {
        failures += 1;
        wait = Math.min(1000 * failures, 10000);
        if (failures === 3)
          say(`No response since ${new Date().toLocaleTimeString()}: the driver has ended, or the connection is broken. This is the last state.`);
      }
    }
    // A page in the background still gets the final state, which only the running driver has.
    const pace = document.hidden ? Math.max(wait, 2500) : wait;
    if (live.dataset.state === "running") setTimeout(loop, pace);
    else {
      pause.hidden = true;
      say("The run has ended. This is its final state.");
    }
  };
  pause.hidden = live.dataset.state !== "running";
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume updates" : "Pause updates";
  });
  setTimeout(loop, wait);
})();
