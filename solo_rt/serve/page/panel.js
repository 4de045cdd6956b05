// What stands beside the pictures: what is drawn on them, counts, times and events.

const MOST_EVENTS = 60;

const $ = (id) => document.getElementById(id);

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

// The controls; `changed()` is called when what is to be drawn has changed, which `query` says as an address does.
export class Controls {
  #classes = [];
  #changed;

  constructor(changed) {
    this.#changed = changed;
    $("switches").addEventListener("change", changed);
    $("classes").addEventListener("change", changed);
    $("conf").addEventListener("input", () => {
      $("conf-value").textContent = Number($("conf").value).toFixed(2);
      changed();
    });
    $("all").onclick = () => this.#check(true);
    $("none").onclick = () => this.#check(false);
  }

  get query() {
    const look = new URLSearchParams();
    for (const box of $("switches").querySelectorAll("input")) look.set(box.name, box.checked ? "1" : "0");
    look.set("conf", $("conf").value);
    if (this.#classes.some((box) => !box.checked)) look.set("classes", ranges(this.#classes));
    return look.toString();
  }

  setModel(model) {
    $("confidence").hidden = model.task === "semantic";
    this.#classes = model.classes.map(([name, colour]) => {
      const box = element("input");
      box.type = "checkbox";
      box.checked = true;
      const label = element("label", "", "chip");
      label.style.setProperty("--colour", colour);
      label.append(box, element("span", name));
      $("classes").append(label);
      return box;
    });
  }

  #check(checked) {
    for (const box of this.#classes) box.checked = checked;
    this.#changed();
  }
}

// Which boxes are checked, as in "0-2,5".
function ranges(boxes) {
  const parts = [];
  boxes.forEach((box, id) => {
    if (!box.checked) return;
    const last = parts.at(-1);
    if (last !== undefined && last[1] === id - 1) last[1] = id;
    else parts.push([id, id]);
  });
  return parts.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(",");
}

export function showCounts(sources, colours) {
  const total = new Map();
  for (const source of sources) {
    for (const [name, count] of Object.entries(source.counts ?? source.shares ?? {})) {
      total.set(name, (total.get(name) ?? 0) + count);
    }
  }
  const isShare = sources.some((source) => source.shares !== undefined);
  const sorted = [...total].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
  $("counts").replaceChildren(...sorted.map(([name, count]) => {
    const item = element("li");
    if (colours.has(name)) item.style.setProperty("--colour", colours.get(name));
    item.append(element("span", name));
    item.append(element("b", isShare ? `${Math.round(100 * count / sources.length)} %` : count));
    return item;
  }));
}

export function showZones(sources) {
  const sum = (counts) => Object.values(counts).reduce((total, count) => total + count, 0);
  const rows = sources.flatMap((source) => (source.zones ?? []).map((zone) => {
    const row = element("tr");
    const name = element("th", sources.length > 1 ? `${source.name}: ${zone.name}` : zone.name);
    name.scope = "row";
    row.append(name, element("td", zone.is_line ? "" : sum(zone.inside)));
    row.append(element("td", sum(zone.entered)), element("td", sum(zone.left)));
    return row;
  }));
  $("zones").hidden = rows.length === 0;
  $("zones").tBodies[0].replaceChildren(...rows);
}

export function showTimes(source) {
  const { latency, ...stages } = source.stages;
  const rows = [...Object.entries(stages), ...(latency === undefined ? [] : [["latency", latency]])];
  const most = Math.max(1e-3, ...rows.map(([, times]) => times[1]));
  const body = $("times").tBodies[0];
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach(([name, [p50, p95]], index) => {
    const row = body.rows[index] ?? addRow(body);
    row.className = name === "latency" ? "latency" : "";
    row.cells[0].textContent = name;
    const [wide, narrow] = row.cells[1].querySelectorAll("i");
    wide.style.setProperty("--length", `${100 * p95 / most}%`);
    narrow.style.setProperty("--length", `${100 * p50 / most}%`);
    row.cells[2].textContent = `${milliseconds(p50)} / ${milliseconds(p95)} ms`;
  });
}

function addRow(body) {
  const row = body.insertRow();
  const name = element("th");
  name.scope = "row";
  const bars = element("td", "", "bars");
  const ground = element("div");
  ground.append(element("i", "", "p95"), element("i", "", "p50"));
  bars.append(ground);
  row.append(name, bars, element("td"));
  return row;
}

const milliseconds = (value) => value.toFixed(value < 10 ? 1 : 0);

export function addEvents(happened) {
  const items = happened.map((event) => {
    const item = element("li");
    const time = element("time", new Date(1000 * event.at).toLocaleTimeString([], { hour12: false }));
    item.append(time, element("b", event.source), ` ${describe(event)}`);
    return item;
  });
  $("events").prepend(...items.reverse());
  while ($("events").children.length > MOST_EVENTS) $("events").lastElementChild.remove();
}

function describe(event) {
  const what = `${event.class} #${event.track_id}`;
  switch (event.event) {
    case "state": return [event.state, event.reason].filter(Boolean).join(": ");
    case "enter": return `${what} entered ${event.zone}`;
    case "leave": return `${what} left ${event.zone} after ${event.seconds.toFixed(1)} s`;
    case "dwell": return `${what} has been in ${event.zone} for ${event.seconds.toFixed(1)} s`;
    case "cross": return `${what} crossed ${event.zone} ${event.direction}`;
    default: return event.event;
  }
}
