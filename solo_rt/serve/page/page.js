// The live page: the state of the run arrives as server-sent events, the pictures over a WebSocket.

import { addEvents, Controls, showCounts, showTimes, showZones } from "/panel.js";
import { Pictures } from "/pictures.js";
import { comes, Tiles } from "/tiles.js";

const LOOK_MILLISECONDS = 80; // between two changes of the look that are sent while a slider moves
const RETRY_MILLISECONDS = 5000;
const OVER = "The run has ended. What you see is its last picture.";

const $ = (id) => document.getElementById(id);
const colours = new Map(); // of classes, by name
let state = null;
let large = null; // name of the source that is
let lookTimer = null;
let isOver = false;

const controls = new Controls(() => {
  lookTimer ??= setTimeout(() => {
    lookTimer = null;
    pictures.look = controls.query;
    if (state !== null) show();
  }, LOOK_MILLISECONDS);
});
const pictures = new Pictures((source, bitmap) => tiles.draw(source, bitmap));
pictures.look = controls.query;
const tiles = new Tiles(pictures, (name) => {
  large = name;
  if (name !== null) $("of").value = name;
  if (state !== null) show();
});
$("of").onchange = () => state !== null && show();
if (matchMedia("(max-width: 820px)").matches) $("show").open = false;

function show() {
  const { sources, model } = state;
  if (model !== null && $("model").textContent === "") {
    $("model").textContent = `${model.name} on ${model.backend}`;
    for (const [name, colour] of model.classes) colours.set(name, colour);
    controls.setModel(model);
  }
  const isOne = sources.length === 1;
  $("totals").textContent =
    isOne || isOver ? "" : `${sources.filter(comes).length} of ${sources.length} sources give results`;
  if ($("of").options.length !== sources.length) {
    $("of").replaceChildren(...sources.map((source) => new Option(source.name, source.name)));
  }
  const counted = large === null ? sources : sources.filter((source) => source.name === large);
  tiles.show(sources, controls.query, state.is_over);
  showCounts(counted.some(comes) ? counted.filter(comes) : counted, colours);
  showZones(counted);
  const timed = sources.find((source) => source.name === $("of").value);
  if (timed !== undefined) showTimes(timed);
}

function say(text) {
  $("banner").textContent = text;
  $("banner").hidden = text === "";
}

function listen() {
  const events = new EventSource("/api/events");
  events.onopen = () => {
    if (isOver) location.reload(); // another run has begun
    $("events").replaceChildren(); // all that is known comes again
  };
  events.addEventListener("state", (event) => {
    state = JSON.parse(event.data);
    isOver = state.is_over;
    say(isOver ? OVER : "");
    show();
  });
  events.addEventListener("happened", (event) => addEvents(JSON.parse(event.data)));
  events.onerror = () => {
    const isRefused = events.readyState === EventSource.CLOSED;
    if (isRefused) setTimeout(listen, RETRY_MILLISECONDS);
    if (!isOver) say(isRefused ? "This page is refused; trying again." : "The connection is lost; trying again.");
  };
}

listen();
