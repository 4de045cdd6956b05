// The pictures of all sources, over one WebSocket: what goes over it is written in solo_rt/serve/watcher.py.

const FIRST_WAIT = 500, LONGEST_WAIT = 5000; // milliseconds before another attempt

export class Pictures {
  #socket = null;
  #wait = FIRST_WAIT;
  #look = "";
  #wanted = new Map(); // widths in pixels by source
  #drawn = new Map(); // numbers of the newest pictures by source: two may be decoded in another order
  #decoder = new TextDecoder();
  #draw;

  // `draw(source, bitmap)` is called with every picture.
  constructor(draw) {
    this.#draw = draw;
    this.#connect();
  }

  set look(query) {
    this.#look = query;
    this.#say({ look: query });
  }

  watch(source, width) {
    if (this.#wanted.get(source) === width) return;
    this.#wanted.set(source, width);
    this.#say({ watch: source, width });
  }

  leave(source) {
    if (this.#wanted.delete(source)) this.#say({ leave: source });
  }

  #connect() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/pictures`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#wait = FIRST_WAIT;
      this.#socket = socket;
      this.#drawn.clear();
      this.#say({ look: this.#look });
      for (const [source, width] of this.#wanted) this.#say({ watch: source, width });
    };
    socket.onmessage = (message) => this.#take(message.data);
    socket.onclose = () => {
      this.#socket = null;
      setTimeout(() => this.#connect(), this.#wait);
      this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT);
    };
  }

  #say(message) {
    // One that is closing takes nothing more; the next one is told all when it opens.
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  async #take(data) {
    const length = new DataView(data).getUint16(0);
    const head = JSON.parse(this.#decoder.decode(new Uint8Array(data, 2, length)));
    try {
      const bitmap = await createImageBitmap(new Blob([new Uint8Array(data, 2 + length)], { type: "image/jpeg" }));
      if (this.#wanted.has(head.source) && head.number >= (this.#drawn.get(head.source) ?? 0)) {
        this.#drawn.set(head.source, head.number);
        this.#draw(head.source, bitmap);
      }
      bitmap.close();
    } finally {
      this.#say({ seen: head.source });
    }
  }
}
