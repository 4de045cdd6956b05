// The grid of sources: a tile has the picture of one, its state and its figures.

// Whether pictures come from a source.
export const comes = (source) => ["live", "running"].includes(source.state);

const OLD = 3; // seconds from which on the age of a picture is said
const MOST_WIDTH = 1920;

export class Tiles {
  #tiles = new Map();
  #grid = document.getElementById("tiles");
  #pictures;
  #chosen;
  #seen = new IntersectionObserver((entries) => this.#notice(entries), { rootMargin: "100px" });
  #resized = new ResizeObserver(() => this.watch());

  // `chosen(name)` is called when a source is made large, or none with null.
  constructor(pictures, chosen) {
    this.#pictures = pictures;
    this.#chosen = chosen;
    document.addEventListener("visibilitychange", () => this.watch());
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.#enlarge(null));
  }

  // Ask for the pictures that can be seen, as large as they are shown.
  watch() {
    for (const [name, tile] of this.#tiles) {
      const width = Math.min(Math.ceil(tile.canvas.clientWidth * Math.min(devicePixelRatio, 2)), MOST_WIDTH);
      if (document.hidden || !tile.isVisible || width < 1) this.#pictures.leave(name);
      else this.#pictures.watch(name, width);
    }
  }

  draw(name, bitmap) {
    const canvas = this.#tiles.get(name)?.canvas;
    if (canvas === undefined) return;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    canvas.getContext("2d", { alpha: false }).drawImage(bitmap, 0, 0);
  }

  show(sources, look, isOver) {
    for (const source of sources) {
      if (!this.#tiles.has(source.name)) this.#add(source.name);
      this.#tiles.get(source.name).show(source, look, isOver);
    }
    this.#grid.classList.toggle("single", sources.length === 1);
  }

  #add(name) {
    const tile = new Tile(name);
    this.#tiles.set(name, tile);
    this.#grid.append(tile.element);
    tile.picture.onclick = () => this.#enlarge(tile.element.classList.contains("large") ? null : name);
    this.#seen.observe(tile.element);
    this.#resized.observe(tile.element);
  }

  #enlarge(name) {
    for (const [other, tile] of this.#tiles) {
      tile.element.classList.toggle("large", other === name);
      tile.picture.setAttribute("aria-pressed", String(other === name));
    }
    if (name !== null) this.#tiles.get(name).element.scrollIntoView({ block: "nearest" });
    this.#chosen(name);
  }

  #notice(entries) {
    for (const entry of entries) {
      for (const tile of this.#tiles.values()) if (tile.element === entry.target) tile.isVisible = entry.isIntersecting;
    }
    this.watch();
  }
}

class Tile {
  isVisible = false;

  constructor(name) {
    this.element = document.getElementById("tile").content.cloneNode(true).firstElementChild;
    this.canvas = this.#part("canvas");
    this.picture = this.#part(".picture");
    this.picture.setAttribute("aria-label", `Enlarge ${name}`);
    this.#part("h2").textContent = name;
    this.#part("h2").title = name;
    this.#part(".snapshot").setAttribute("aria-label", `Save a picture of ${name}`);
  }

  show(source, look, isOver) {
    this.element.dataset.state = source.state;
    this.#part(".state").textContent = source.state;
    this.#part(".fps").textContent = source.fps.toFixed(1);
    this.#part(".latency").textContent = source.latency === undefined ? "–" : `${Math.round(source.latency[0])} ms`;
    this.#part(".dropped").textContent = source.frames?.dropped ?? "–";
    const counts = source.counts === undefined ? null : Object.values(source.counts);
    this.#part(".objects").textContent = counts === null ? "–" : counts.reduce((sum, count) => sum + count, 0);
    if (source.aspect !== undefined) this.canvas.style.aspectRatio = String(source.aspect);
    const notice = this.#notice(source, isOver);
    this.#part(".notice").textContent = notice;
    this.#part(".notice").hidden = notice === "";
    this.#part(".frame").classList.toggle("stale", notice !== "" && source.state !== "ended");
    const link = this.#part(".snapshot");
    link.hidden = source.age === undefined || isOver;
    link.href = `/sources/${encodeURIComponent(source.name)}.jpg?${look}`;
    link.download = `${source.name}-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.jpg`;
  }

  // What is written over the picture; nothing where all is well.
  #notice(source, isOver) {
    if (source.state === "ended") return "";
    if (source.age === undefined) return [source.state, source.reason].filter(Boolean).join(": ");
    const isFine = comes(source) && !isOver;
    if (isFine && source.age < OLD) return "";
    const age = `last picture ${ago(source.age)} ago`;
    return isFine ? age : [`${source.state}, ${age}`, source.reason].filter(Boolean).join("\n");
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }
}

function ago(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
