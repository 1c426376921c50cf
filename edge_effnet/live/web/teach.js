// The second view: names for pictures, a network that learns them. Loaded where the camera can be taught.
"use strict";

const TEACH_MS = 1000; // between two looks at what has changed
const LEARNING_MS = 300;
const BURST_MS = 250; // between two pictures while the button is held
const TOAST_MS = 8000;
const MOST_NAMED = 6; // of the classes of the network in use
const WHY = { change: "new", unknown: "unknown", tie: "undecided", chance: "by chance", collected: "collected" };
const STAGES_SAID = { photos: "Reading photos", features: "Looking at photos", learning: "Learning", writing: "Writing the file", comparing: "Comparing with the one in use" };
const THROW = "throw away";

let target = null; // the class that taps and the button are for: its id, or THROW
let inSight = null; // the target that the list was last scrolled to
let taught = null;
let queue = Promise.resolve();
let timer = 0;
let toastTimer = 0;
let burst = null;

const percentOr = (value) => (value === null || value === undefined ? "–" : `${(100 * value).toFixed(0)} %`);
const counted = (count, what) => `${count.toLocaleString()} ${what}${count === 1 ? "" : "s"}`;

async function ask(path, said) {
  const options = said === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(said) };
  const answer = await fetch(path, options);
  const text = await answer.text();
  if (answer.ok) return JSON.parse(text);
  let problem = text.trim();
  try {
    problem = JSON.parse(text).error;
  } catch {
    // a line of plain text
  }
  throw new Error(problem);
}

// One change after the other, in the order of the taps.
function change(action, said = {}) {
  queue = queue
    .then(() => ask(`/api/teach/${action}`, said))
    .then((found) => {
      showTaught(found);
      return found;
    })
    .catch((error) => {
      toast(error.message, false);
      return null;
    });
  return queue;
}

function toast(text, canUndo) {
  setText($("toast-text"), text);
  $("undo").hidden = !canUndo;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => ($("toast").hidden = true), TOAST_MS);
}

function showTaught(found) {
  const before = taught;
  taught = found;
  if (target !== THROW && !found.classes.some((one) => one.id === target)) target = found.classes.at(-1)?.id ?? null;
  for (const part of [showClasses, showHold, showInbox, showLearning]) part(found);
  if (before && found.undo && found.undo !== before.undo) toast(found.undo, true);
  else if (!found.undo && before?.undo) $("toast").hidden = true;
}

// Keeps the elements of a list whose things are still there, so that a thumb never hits what just moved in.
function fill(list, things, make, update) {
  const known = new Map([...list.children].map((child) => [child.dataset.id, child]));
  const wanted = things.map((thing) => {
    const child = known.get(thing.id) ?? make(thing);
    child.dataset.id = thing.id;
    update(child, thing);
    return child;
  });
  if (wanted.length !== list.children.length || wanted.some((child, place) => list.children[place] !== child)) list.replaceChildren(...wanted);
}

function makeClass(one) {
  const button = element("button", one.id === THROW ? "throw" : "");
  button.type = "button";
  button.append(element("span", "none"), element("span", "name"), element("span", "count"));
  button.addEventListener("click", () => {
    target = one.id;
    showTaught(taught);
  });
  return button;
}

function updateClass(button, one) {
  const [thumb, name, count] = button.children;
  button.setAttribute("aria-pressed", String(target === one.id));
  setText(name, one.name);
  setText(count, one.id === THROW ? "tap to throw away" : counted(one.photos, "photo"));
  if (one.newest && button.dataset.newest !== one.newest) {
    const image = element("img", "");
    image.alt = "";
    image.src = `/class/${one.id}.jpg?${encodeURIComponent(one.newest)}`;
    thumb.replaceWith(image);
    button.dataset.newest = one.newest;
  } else if (!one.newest && thumb.tagName === "IMG") {
    thumb.replaceWith(element("span", "none"));
    delete button.dataset.newest;
  } else if (!one.newest) setText(thumb, one.id === THROW ? "✕" : "no photo yet");
}

function showClasses(found) {
  const things = found.waiting ? [...found.classes, { id: THROW, name: "Nothing of use", newest: null }] : found.classes;
  fill($("classes"), things, makeClass, updateClass);
  if (target !== inSight) bringIntoSight($("classes"), target);
  inSight = target;
}

function inUse({ file, labels }) {
  if (!file) return "In use: the network that came with the camera.";
  if (!labels) return `In use: ${file}.`;
  const more = labels.length - MOST_NAMED;
  const named = labels.slice(0, more > 1 ? MOST_NAMED : labels.length).join(", ");
  return `In use: ${file}, which knows ${named}${more > 1 ? ` and ${more} more` : ""}.`;
}

// Scrolls the list alone, not the page, to the thing of that id.
function bringIntoSight(list, id) {
  const child = [...list.children].find((one) => one.dataset.id === id);
  if (!child) return;
  const top = child.offsetTop - list.offsetTop;
  const below = top + child.offsetHeight - list.clientHeight;
  list.scrollTop = Math.min(Math.max(list.scrollTop, below), top);
}

function chosen() {
  return taught?.classes.find((one) => one.id === target) ?? null;
}

function showHold() {
  const one = chosen();
  $("hold").disabled = !one;
  setText($("hold"), one ? `Hold: this is ${one.name}` : taught.classes.length ? "Choose a class" : "Add a class first");
}

function makePicture(picture) {
  const row = element("li", "");
  const button = element("button", "");
  button.type = "button";
  const image = element("img", "");
  image.alt = "";
  image.loading = "lazy";
  image.src = `/inbox/${picture.id}.jpg`;
  const why = element("span", "why");
  why.append(element("span", ""));
  button.append(image, why);
  button.addEventListener("click", () => {
    if (!target) return toast("Add a class first", false);
    button.classList.add("going");
    const said = { pictures: [picture.id] };
    const done = target === THROW ? change("dismiss", said) : change("assign", { ...said, class: target });
    return done.then(() => button.classList.remove("going"));
  });
  row.append(button);
  return row;
}

function updatePicture(row, picture) {
  const guess = picture.label ? `${picture.label}${picture.score === null ? "" : ` ${percentOr(picture.score).replace(" ", "\u00a0")}`}` : "";
  const text = [WHY[picture.why] ?? "", guess].filter(Boolean).join(" · ");
  setText(row.querySelector(".why span"), text);
  row.firstChild.setAttribute("aria-label", `Picture: ${text}`);
}

function showInbox(found) {
  fill($("inbox"), found.inbox, makePicture, updatePicture);
  setText($("waiting-count"), found.waiting ? found.waiting.toLocaleString() : "");
  const one = chosen();
  const tap = target === THROW ? "Tap a picture to throw it away." : one ? `Tap a picture that shows ${one.name}.` : "Add a class, then tap pictures that show it.";
  setText($("inbox-note"), found.waiting ? tap : "Nothing waits. The camera keeps what is new, unknown or undecided here.");
}

function learnNote(found) {
  const filled = found.classes.filter((one) => one.photos > 0);
  const photos = filled.reduce((sum, one) => sum + one.photos, 0);
  if (filled.length < 2) return ["Two classes with photos are needed; one may be called none, for what is none of them.", false];
  const fewest = filled.reduce((least, one) => (one.photos < least.photos ? one : least));
  return [`${counted(photos, "photo")} of ${filled.length} classes${fewest.photos < 5 ? `; ${fewest.name} has only ${fewest.photos}` : ""}.`, true];
}

function showLearning(found) {
  const { phase, stage, share, problem, result } = found.lesson;
  const learning = phase === "learning";
  const [note, enough] = learnNote(found);
  setText($("learn-note"), note);
  $("learn").hidden = learning || phase === "done";
  $("learn").disabled = !enough;
  $("learning").hidden = !learning;
  setText($("stage"), STAGES_SAID[stage] ?? "Starting");
  setText($("share"), learning ? percentOr(share) : "");
  $("progress").value = share;
  $("problem").hidden = phase !== "failed";
  setText($("problem"), problem ?? "");
  $("result").hidden = phase !== "done";
  if (phase === "done") showResult(result);
  setText($("in-use"), inUse(found.in_use));
  $("back").hidden = !found.before || learning || phase === "done";
  if (found.before) setText($("back"), found.before.file ? `Back to ${found.before.file}` : "Back to the one that came with the camera");
}

function showResult(result) {
  setText($("before"), percentOr(result.before));
  $("before-bar").style.transform = `scaleX(${result.before ?? 0})`;
  setText($("before-note"), result.before === null ? "it has none of these names" : `of ${counted(result.before_photos, "photo")}, those it learned from among them`);
  setText($("after"), percentOr(result.accuracy));
  $("after-bar").style.transform = `scaleX(${result.accuracy ?? 0})`;
  const interval = result.interval ? `${percentOr(result.interval[0])} to ${percentOr(result.interval[1])}, ` : "";
  setText($("after-note"), result.accuracy === null ? "more photos would tell" : `${interval}each photo judged without having been seen`);
  const hints = [];
  if (result.wants) hints.push(`Ten more photos of ${result.wants} would help most.`);
  for (const one of result.doubtful) hints.push(`Perhaps misfiled: ${one.photo}, of ${one.label}, looks like ${one.looks_like}.`);
  if (result.left_out.length) hints.push(`Left out: ${result.left_out.join("; ")}.`);
  setText($("hints"), hints.join(" "));
}

function look() {
  clearTimeout(timer);
  if (document.body.dataset.view !== "teach" || document.hidden) return;
  ask("/api/teach")
    .then((found) => {
      if (!burst) showTaught(found);
    })
    .catch(() => {}) // the page says by itself that the connection is lost
    .finally(() => (timer = setTimeout(look, taught?.lesson.phase === "learning" ? LEARNING_MS : TEACH_MS)));
}

function show(view) {
  document.body.dataset.view = view;
  $("watch").setAttribute("aria-pressed", String(view === "watch"));
  $("teach").setAttribute("aria-pressed", String(view === "teach"));
  look();
}

async function collect() {
  const one = chosen();
  if (!one || burst) return;
  burst = `${Date.now()}-${Math.random()}`;
  $("hold").classList.add("held");
  while (burst) {
    const found = await change("collect", { class: one.id, burst });
    if (!found) break;
    await new Promise((resolve) => setTimeout(resolve, BURST_MS));
  }
  release();
}

function release() {
  burst = null;
  $("hold").classList.remove("held");
}

$("hold").addEventListener("pointerdown", (event) => {
  event.preventDefault();
  if (event.isPrimary && event.button === 0) collect();
});
for (const name of ["pointerup", "pointercancel", "blur"]) window.addEventListener(name, release);
$("hold").addEventListener("contextmenu", (event) => event.preventDefault());
$("hold").addEventListener("keydown", (event) => {
  if ([" ", "Enter"].includes(event.key)) {
    event.preventDefault();
    if (!event.repeat) collect();
  }
});
$("hold").addEventListener("keyup", release);

$("new-class").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name").value;
  change("class", { name }).then((found) => {
    if (!found) return;
    $("name").value = "";
    target = found.classes.find((one) => !taughtBefore.has(one.id))?.id ?? target;
    showTaught(found);
  });
  const taughtBefore = new Set(taught?.classes.map((one) => one.id));
});

$("watch").addEventListener("click", () => show("watch"));
$("teach").addEventListener("click", () => show("teach"));
$("undo").addEventListener("click", () => change("undo"));
$("learn").addEventListener("click", () => change("learn").then(look));
$("stop").addEventListener("click", () => change("stop"));
$("keep").addEventListener("click", () => change("keep"));
$("use").addEventListener("click", () => change("use", { network: taught.lesson.result.file }));
$("back").addEventListener("click", () => change("use", { network: taught.before.file }));
document.addEventListener("visibilitychange", look);
show(location.hash === "#teach" ? "teach" : "watch");
