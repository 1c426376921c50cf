// Shows what /api/events says; reconnects by itself. Durations are the server's, times of day are this device's.
"use strict";

const QUIET_MS = 5000; // the server speaks several times a second: silence means that it is gone
const RETRY_MS = 1000;
const STAGES = [
  ["decode", "stage-4"],
  ["preprocess", "stage-2"],
  ["inference", "stage-1"],
  ["decide", "stage-3"],
];

const $ = (id) => document.getElementById(id);
let stream = null;
let lastHeard = 0;
let lostSince = null;
let lastFrame = 0;
let retry = 0;

function timeOfDay(ageSeconds = 0) {
  return new Date(Date.now() - 1000 * ageSeconds).toLocaleTimeString([], { hour12: false });
}

function duration(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

const percent = (score) => `${(100 * score).toFixed(score < 0.0995 ? 1 : 0)} %`;

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text; // unchanged text is not read out again
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function showStatus(status, text, veil) {
  document.body.dataset.status = status;
  setText($("status"), text);
  setText($("veil"), veil);
  $("veil").hidden = !veil;
}

function renderStatus(state) {
  const taken = Date.now() - 1000 * (state.last_frame_age_s ?? state.uptime_s);
  if (Math.abs(taken - lastFrame) > 1500) lastFrame = taken; // messages travel: the same moment isn't told as two
  const since = `No frames since ${new Date(lastFrame).toLocaleTimeString([], { hour12: false })}`;
  const problem = state.source.problem ? `: ${state.source.problem}` : "";
  if (state.status === "live") showStatus("live", "Live", "");
  else if (state.status === "starting") showStatus("connecting", "Starting…", "Waiting for the first frame");
  else if (state.status === "ended") showStatus("ended", "Ended", "");
  else showStatus("stale", since, since + problem);
}

function renderAnnounced(state) {
  const announced = state.announced;
  setText($("label"), announced ? announced.label : state.frames.classified ? "Nothing in particular" : "Nothing yet");
  $("label").classList.toggle("nothing", !announced);
  setText($("held"), announced ? `for ${duration(announced.for_s)}` : "");
  setText($("waiting"), state.waiting ? state.waiting.text : "");
  setText($("score"), announced ? percent(announced.score) : "");
}

function renderTop(state) {
  const list = $("top");
  const some = state.allowed !== null;
  $("allowed-note").hidden = !some;
  if (some) setText($("allowed-note"), `✓ may be announced: ${state.allowed.toLocaleString()} of ${state.model.classes.toLocaleString()} classes`);
  while (list.children.length > state.top.length) list.lastChild.remove();
  state.top.forEach((found, rank) => {
    let row = list.children[rank];
    if (!row) {
      row = element("li", "");
      row.append(element("span", "bar"), element("span", "name"), element("span", "value number"));
      list.append(row);
    }
    row.classList.toggle("held-now", state.announced?.index === found.index);
    row.classList.toggle("not-allowed", !found.allowed);
    row.children[0].style.transform = `scaleX(${found.score})`;
    setText(row.children[1], some && found.allowed ? `✓ ${found.label}` : found.label);
    setText(row.children[2], percent(found.score));
  });
}

function renderSpeed(state) {
  const timing = { ...state.timing_ms };
  timing.decide = (timing.decide ?? 0) + (timing.postprocess ?? 0);
  const total = STAGES.reduce((sum, [name]) => sum + (timing[name] ?? 0), 0);
  setText($("fps"), state.fps.classified.toFixed(1));
  setText($("camera-fps"), state.fps.camera.toFixed(1));
  setText($("frame-ms"), total ? total.toFixed(1) : "–");
  const split = $("split");
  const legend = $("legend");
  STAGES.forEach(([name, className], place) => {
    if (!split.children[place]) {
      split.append(element("span", className));
      legend.append(element("li", `${className} number`));
    }
    split.children[place].style.flexGrow = total ? (timing[name] ?? 0) / total : 0;
    setText(legend.children[place], `${name} ${(timing[name] ?? 0).toFixed(1)} ms`);
  });
  split.setAttribute("aria-label", `Split of the time: ${STAGES.map(([name]) => `${name} ${(timing[name] ?? 0).toFixed(1)} milliseconds`).join(", ")}`);
  const { classified, dropped, skipped, failed } = state.frames;
  const parts = [`${classified.toLocaleString()} classified`, `${dropped.toLocaleString()} dropped`];
  if (skipped) parts.push(`${skipped.toLocaleString()} skipped`);
  if (failed) parts.push(`${failed.toLocaleString()} failed`);
  setText($("counts"), `${parts.join(" · ")} · running for ${duration(state.uptime_s)}`);
}

function renderEvents(state) {
  const list = $("events");
  const newest = state.events.length ? `${state.events.at(-1).number} ${state.events.at(-1).time}` : "";
  $("no-events").hidden = state.events.length > 0;
  if (list.dataset.newest === newest) return;
  list.dataset.newest = newest;
  list.replaceChildren(
    ...[...state.events].reverse().map((event) => {
      const row = element("li", "");
      const time = element("time", "", timeOfDay(state.uptime_s - event.uptime_s));
      time.dateTime = event.time;
      row.append(time, element("span", event.label ? "" : "nothing", event.label ?? "nothing in particular"));
      row.append(element("span", "value", event.score === null ? "" : percent(event.score)));
      return row;
    }),
  );
}

function renderModel(state) {
  const model = state.model;
  const rows = [
    ["file", model.file],
    ["network", [model.variant && `EfficientNet-${model.variant[0].toUpperCase()}${model.variant.slice(1)}`, model.precision].filter(Boolean).join(", ") || "of another maker"],
    ["input", `${model.image_size} × ${model.image_size}`],
    ["classes", model.classes.toLocaleString()],
    ["engine", `${model.engine} (${model.engine_version}), ${model.threads} ${model.threads === 1 ? "thread" : "threads"}`],
  ];
  if (model.top1 !== null) rows.push(["top-1", `${(100 * model.top1).toFixed(1)} %`]);
  if (state.source.size) rows.push(["camera", `${state.source.size.join(" × ")}${state.every > 1 ? `, 1 frame of ${state.every}` : ""}`]);
  for (const sink of state.sinks) rows.push([sink.name.split(" ")[0], `${sink.sent} sent${sink.waiting ? `, ${sink.waiting} waiting for ${Math.round(sink.waiting_s ?? 0)} s` : ""}${sink.lost ? `, ${sink.lost} lost` : ""}${sink.problem ? `: ${sink.problem}` : ""}`]);
  const text = JSON.stringify(rows);
  if ($("model").dataset.shown === text) return;
  $("model").dataset.shown = text;
  $("model").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", "", name), element("dd", "", value)]));
}

function renderRegion(state) {
  const region = $("region");
  region.hidden = !state.region;
  if (!state.region || !state.source.size) return;
  const picture = $("picture");
  const [width, height] = state.source.size;
  const scale = Math.min(picture.clientWidth / width, picture.clientHeight / height);
  const [x, y] = [picture.offsetLeft + (picture.clientWidth - width * scale) / 2, picture.offsetTop + (picture.clientHeight - height * scale) / 2];
  const [left, top, w, h] = state.region;
  region.style.left = `${x + left * width * scale}px`;
  region.style.top = `${y + top * height * scale}px`;
  region.style.width = `${w * width * scale}px`;
  region.style.height = `${h * height * scale}px`;
}

function renderShape(state) {
  if (state.source.size) $("frame").style.aspectRatio = state.source.size.join(" / "); // nothing jumps when the picture comes
}

// What teaches comes only where the camera can be taught.
function offerTeaching(state) {
  if (!state.teach || !$("views").hidden) return;
  $("views").hidden = false;
  const style = element("link", "");
  Object.assign(style, { rel: "stylesheet", href: "/teach.css" });
  const script = element("script", "");
  script.src = "/teach.js";
  document.head.append(style, script);
}

function render(state) {
  offerTeaching(state);
  setText($("source"), state.source.name);
  document.title = `${state.announced ? state.announced.label : "nothing"} · edge-effnet camera`;
  for (const part of [renderShape, renderStatus, renderAnnounced, renderTop, renderSpeed, renderEvents, renderModel, renderRegion]) part(state);
}

function disconnect() {
  stream?.close();
  stream = null;
}

function connect() {
  disconnect();
  clearTimeout(retry);
  lastHeard = Date.now();
  stream = new EventSource("/api/events");
  stream.addEventListener("open", () => {
    lostSince = null;
    lastHeard = Date.now();
    $("picture").src = `/stream.mjpg?${Date.now()}`; // anew: after a restart the old stream stays silent for ever
    $("picture").hidden = false;
  });
  stream.addEventListener("state", (message) => {
    lastHeard = Date.now();
    render(JSON.parse(message.data));
  });
  stream.addEventListener("error", lose);
}

function lose() {
  lostSince ??= Date.now();
  const text = `Connection lost at ${timeOfDay((Date.now() - lostSince) / 1000)}`;
  showStatus("lost", "Connection lost", `${text}; trying again…`);
  disconnect();
  clearTimeout(retry);
  retry = setTimeout(connect, RETRY_MS);
}

setInterval(() => {
  if (stream && Date.now() - lastHeard > QUIET_MS) lose();
}, 1000);

// A page that nobody sees costs the camera nothing, and leaves the browser's few connections to the one that is seen.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(retry);
    disconnect();
    $("picture").removeAttribute("src");
    $("picture").hidden = true;
  } else connect();
});

connect();
