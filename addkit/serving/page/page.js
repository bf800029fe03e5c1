// The page: pictures in a row, the answer of the one that is shown, and the slider over its chain.
import { model, predict } from "./api.js";
import { byId, make, percent } from "./dom.js";
import { framesOf } from "./frames.js";
import { captionWords, labelRows } from "./labels.js";
import { listen } from "./pictures.js";
import { grain, squares, streams } from "./river.js";

const AT_ONCE = 4; // requests
const SMALL = 128; // pixels up to which a picture is enlarged in squares
const STEPS = 12; // of a chain to watch, where the model's own answer needs fewer
const CHARTED = 8; // tags
const PLAY_SECONDS = 1.6;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** What `/model` has; of no use before `ready`. */
let card = null;
/** Pictures so far, oldest first; see `add`. */
const pictures = [];
let current = null;
/** What is drawn for `current`: its frames, and functions that show one of them. */
let view = null;
let playing = 0;

// The model.

/** The page filled in; pictures may come before. */
const ready = start();

async function start() {
  card = await model();
  document.title = byId("title").textContent = card.name;
  const kind = card.labels ? `one of ${card.labels.length} labels`
    : card.tags ? `any of ${card.tags.length} tags`
    : card.attributes ? `${Object.keys(card.attributes).length} labels that depend on each other`
    : `captions of up to ${card.captions.tokens} words`;
  const score = card.headline ? `, ${card.headline.value} ${card.headline.unit} ${card.headline.title} on its test pictures` : "";
  byId("about").textContent = `${card.model}: ${kind}${score}`;
  byId("steps").value = Math.min(card.limits.steps, card.inference.steps > 1 ? card.inference.steps : STEPS);
  byId("chains").value = card.inference.chains;
  byId("guidance").value = card.inference.guidance;
  byId("seed").value = 0;
  byId("steps").max = card.limits.steps;
  byId("chains").max = card.limits.chains;
  for (const name of card.samplers) {
    byId("sampler").append(make("option", { value: name, text: name, selected: name === card.inference.sampler }));
  }
  for (const column of card.side_inputs) {
    const field = column.kind === "category"
      ? make("select", { "data-input": column.name }, ...["", ...column.categories].map((value) => make("option", { value, text: value || "unknown" })))
      : make("input", { "data-input": column.name, type: column.kind === "number" ? "number" : "text", step: "any" });
    byId("side-inputs").append(make("label", {}, column.name, field));
  }
}

/** True if labels of a picture are known, or evidence on them is. */
const isGiven = (picture) => !isEmpty(picture.given) || !isEmpty(picture.evidence);

const isEmpty = (object) => !Object.keys(object).length;

/** Settings of a request, from the fields and from what is known of the picture. */
function settingsFor(picture) {
  const number = (id) => (byId(id).value === "" ? undefined : Number(byId(id).value));
  const inputs = [...document.querySelectorAll("[data-input]")].filter((field) => field.value !== "");
  // Evidence on tags is that they are present.
  const { "": onTags = {}, ...onAttributes } = picture.evidence;
  const byTag = Object.fromEntries(Object.entries(onTags).map(([tag, p]) => [tag, { yes: p }]));
  const evidence = isEmpty(picture.evidence) ? undefined : { ...byTag, ...onAttributes };
  const own = byId("sampler").value === card.inference.sampler;
  const most = card.labels?.length ?? card.tags?.length ?? Math.max(5, ...Object.values(card.attributes ?? {}).map((values) => values.length));
  return {
    steps: number("steps"),
    chains: number("chains"),
    guidance: number("guidance"),
    seed: number("seed"),
    // Each process takes in evidence with a sampler of its own.
    sampler: evidence ? card.evidence_sampler ?? undefined : own ? undefined : byId("sampler").value,
    evidence,
    top: Math.min(card.limits.top, most),
    trace: true,
    given: isEmpty(picture.given) ? undefined : picture.given,
    side_inputs: inputs.length ? Object.fromEntries(inputs.map((field) => [field.dataset.input, field.value])) : undefined,
  };
}

// Pictures.

/** Add pictures to the film, show the first new one, and ask for all of them. */
function add(files) {
  const added = files.map((file) => ({
    file,
    url: URL.createObjectURL(file),
    answer: null,
    fault: "",
    /** Known labels as the server takes them: values by attribute, or a caption's template. */
    given: {},
    /** Soft evidence: probabilities by attribute and value. */
    evidence: {},
    /** Positions of words that the user keeps. */
    held: new Set(),
    /** Probabilities by group before the last label was made known. */
    before: new Map(),
    asked: 0,
  }));
  if (!added.length) return;
  pictures.push(...added);
  drawFilm();
  choose(added[0]);
  const waiting = [...added];
  for (let i = 0; i < Math.min(AT_ONCE, added.length); i++) {
    (async () => {
      while (waiting.length) await ask(waiting.shift());
    })();
  }
}

/** Ask for a picture's answer; an answer that comes after a newer request is left out. */
async function ask(picture, { autoplay = true } = {}) {
  const number = ++picture.asked;
  picture.busy = true;
  const began = performance.now();
  try {
    await ready;
    const answer = await predict(picture.file, settingsFor(picture));
    if (number !== picture.asked) return;
    picture.answer = answer;
    picture.seconds = (performance.now() - began) / 1000;
    picture.fault = "";
  } catch (fault) {
    if (number !== picture.asked) return;
    picture.fault = fault.message;
  }
  picture.busy = false;
  drawFilm();
  if (picture === current) {
    draw();
    if (picture.fault) return;
    if (autoplay && !calm.matches) play();
    byId("news").textContent = `Answer: ${picture.answer.answer}. ${byId("sure").textContent}`;
  }
}

function drawFilm() {
  byId("clear").hidden = !pictures.length;
  const film = byId("film");
  // Updated in place: a new element would lose the focus.
  while (film.children.length > pictures.length) film.lastElementChild.remove();
  pictures.forEach((picture, index) => {
    let button = film.children[index]?.firstElementChild;
    if (!button) {
      const image = make("img", { src: picture.url, alt: "" });
      image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth <= SMALL));
      button = make("button", { type: "button", on: { click: () => choose(picture) } }, image, make("span"));
      film.append(make("li", {}, button));
    }
    const text = picture.fault ? "not read" : picture.answer?.answer || (picture.busy ? "…" : "(no words)");
    button.lastElementChild.textContent = text;
    button.title = picture.file.name ? `${picture.file.name}: ${text}` : text;
    button.classList.toggle("bad", Boolean(picture.fault));
    button.classList.toggle("busy", Boolean(picture.busy));
    button.setAttribute("aria-current", String(picture === current));
  });
}

function choose(picture) {
  current = picture;
  const image = byId("picture"), stage = byId("stage");
  stage.classList.toggle("empty", !picture);
  byId("invitation").hidden = Boolean(picture);
  byId("unshown").hidden = image.hidden = true;
  if (picture) {
    image.src = picture.url;
    image.alt = picture.file.name || "The picture";
  }
  drawFilm();
  draw();
}

byId("picture").addEventListener("load", ({ target }) => {
  target.hidden = !current;
  target.classList.toggle("small", Math.max(target.naturalWidth, target.naturalHeight) <= SMALL);
});
byId("picture").addEventListener("error", () => {
  // The server may read formats that this browser does not.
  byId("unshown").textContent = `${current?.file.name || "This picture"} cannot be shown by this browser.`;
  byId("unshown").hidden = !current;
});

// The answer.

/** Draw the answer of the current picture, at its end. */
function draw() {
  stop();
  const focused = document.activeElement?.dataset.key;
  const answer = current?.answer;
  byId("fault").hidden = !current?.fault;
  byId("fault").textContent = current?.fault ?? "";
  byId("waiting").hidden = Boolean(answer || current?.fault);
  byId("result").hidden = !answer;
  view = null;
  if (!answer) return;
  const frames = framesOf(answer), several = frames[0].groups.length > 1;
  const parts = [];
  const charts = [];
  if (answer.captions) {
    parts.push(captionWords(current.held, { hold, apply, vocabulary: card.captions.vocabulary }));
    charts.push(squares(frames, (frame) => frame.words.map((word) => word.probability)));
  } else if (answer.tags) {
    const rows = labelRows(frames, 0, {
      known: (tag) => current.given[tag] && `known: ${current.given[tag]}`,
      fix: fixTag,
      before: current.before.get(""),
      evidence: current.evidence[""],
      observe: card.evidence ? (shares) => observe("", shares) : null,
    });
    const first = rows.names.slice(0, CHARTED);
    parts.push(rows);
    charts.push(squares(frames, ({ groups: [{ shares }] }) => first.map((tag) => shares.get(tag) ?? 0)));
  } else {
    frames[0].groups.forEach((group, index) => {
      const rows = labelRows(frames, index, {
        known: (value) => (current.given[group.name] === value ? "known" : undefined),
        fix: card.attributes ? (value) => fix(group.name, value) : null,
        before: current.before.get(group.name),
        evidence: current.evidence[group.name],
        observe: card.evidence ? (shares) => observe(group.name, shares) : null,
      });
      parts.push(rows);
      charts.push(streams(frames, index, rows.names, several));
      if (several) charts.push(make("span", { class: "of", text: group.name }));
    });
  }
  const now = make("div", { class: "now" });
  byId("river").replaceChildren(...charts, grain(), now);
  const what = card.attributes ? "a value to fix it as known" : card.tags ? "a tag to fix it as present, once more as absent" : "";
  const hint = what ? [make("p", { class: "quiet", text: `Click ${what}, and see the others follow.` })] : [];
  byId("labels").replaceChildren(...hint, ...parts.map(({ element }) => element));
  byId("chain").hidden = frames.length < 2;
  byId("free").hidden = !isGiven(current);
  byId("made").textContent = howMade(answer);
  view = { frames, parts, now };
  byId("step").max = frames.length - 1;
  show(frames.length - 1);
  if (focused) document.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

/** Show the frame of this number; the last one is the answer. */
function show(index) {
  const { frames, parts, now } = view, { answer } = current;
  const frame = frames[index], last = index === frames.length - 1;
  for (const part of parts) part.show(frame, answer, last ? current.given.template : undefined);
  const best = answer.captions ? frame.words.map((word) => [word.text, word.probability]) : [...frame.best];
  if (!best.length) best.push([answer.tags ? "(no tag)" : "(no words)", 1]);
  byId("best").replaceChildren(...best.flatMap(([text, p], i) => {
    const word = make("span", { class: "sharp", text });
    word.style.setProperty("--p", p);
    return [i && !answer.captions ? ", " : " ", word];
  }));
  byId("sure").textContent = last ? sure(answer) : "";
  byId("step").value = index;
  const steps = frames.length - 1;
  const place = last ? `after ${steps} step${steps > 1 ? "s" : ""}` : `step ${index + 1} of ${steps}, t = ${frame.t.toFixed(2)}`;
  byId("when").textContent = place;
  byId("step").setAttribute("aria-valuetext", `${place}: ${byId("best").textContent.trim()}`);
  // Squares stand between the ends, streams reach them.
  const inSquares = answer.captions || answer.tags;
  now.style.left = `${inSquares ? (100 * (index + 0.5)) / frames.length : (100 * index) / (frames.length - 1 || 1)}%`;
}

/** One line on how sure the answer is. */
function sure(answer) {
  const best = answer.labels?.[0] ?? answer.answers?.[0] ?? answer.captions?.[0];
  const chains = answer.votes_by?.chains ?? answer.chains;
  const votes = chains > 1 && best.votes !== undefined ? `, ${percent(best.votes)} of ${chains} chains` : "";
  // The probability of all labels together would count those that are known as well.
  if (best.probability === null || (answer.answers && isGiven(current))) return votes.slice(2);
  return `${percent(best.probability)} sure${answer.answers ? " of all together" : ""}${votes}`;
}

function howMade(answer) {
  const chain = answer.votes_by ?? answer, loop = chain.sampler ? `${chain.chains > 1 ? `${chain.chains} chains of ` : ""}${chain.steps} steps, ${chain.sampler}` : "";
  const evidence = { state: "evidence read as noisy labels", bias: "evidence added to logits" }[answer.evidence];
  const pass = answer.votes_by || !answer.sampler ? "probability in one pass" : `read out by ${answer.read_out}`;
  return [pass, loop, evidence, `${Math.round(1000 * current.seconds)} ms`].filter(Boolean).join("; ");
}

// What the user makes known.

function fix(attribute, value) {
  current.before = endShares();
  current.given = { ...current.given };
  if (current.given[attribute] === value) delete current.given[attribute];
  else current.given[attribute] = value;
  ask(current, { autoplay: false });
}

/** Free, present, absent, free. */
function fixTag(tag) {
  current.before = endShares();
  const { [tag]: known, ...others } = current.given;
  const next = { undefined: "yes", yes: "no" }[known];
  current.given = next ? { ...others, [tag]: next } : others;
  ask(current, { autoplay: false });
}

/** Evidence of something else than the picture on an attribute; of all tags its name is empty. */
function observe(attribute, shares) {
  current.before = endShares();
  current.evidence = { ...current.evidence };
  if (shares) current.evidence[attribute] = shares;
  else delete current.evidence[attribute];
  ask(current, { autoplay: false });
}

/** Probabilities of the answer by group. */
const endShares = () => new Map(framesOf(current.answer).at(-1).groups.map(({ name, shares }) => [name, shares]));

function hold(place, words) {
  if (!current.held.delete(place)) current.held.add(place);
  const template = words.map((word, index) => (current.held.has(index) ? word : "_")).join(" ");
  current.given = current.held.size ? { template } : {};
  ask(current, { autoplay: false });
}

function apply(template) {
  const words = template.split(/\s+/).filter(Boolean);
  current.held = new Set(words.flatMap((word, index) => (word === "_" ? [] : [index])));
  current.given = words.length ? { template: words.join(" ") } : {};
  ask(current);
}

// The slider.

function play() {
  if (!view || view.frames.length < 2) return;
  stop();
  let index = 0;
  const last = view.frames.length - 1;
  show(0);
  byId("play").textContent = "Stop";
  playing = setInterval(() => {
    show(++index);
    if (index >= last) stop();
  }, Math.min(250, (1000 * PLAY_SECONDS) / last));
}

function stop() {
  clearInterval(playing);
  playing = 0;
  byId("play").textContent = "Play";
}

byId("step").addEventListener("input", ({ target }) => {
  stop();
  if (view) show(Number(target.value));
});
byId("play").addEventListener("click", () => (playing ? (stop(), show(view.frames.length - 1)) : play()));
byId("noise").addEventListener("click", () => {
  byId("seed").value = Number(byId("seed").value) + 1;
  ask(current);
});
byId("free").addEventListener("click", () => {
  current.before = new Map();
  current.held = new Set();
  current.given = {};
  current.evidence = {};
  ask(current, { autoplay: false });
  byId("step").focus(); // this button goes
});
byId("clear").addEventListener("click", () => {
  for (const picture of pictures) URL.revokeObjectURL(picture.url);
  pictures.length = 0;
  choose(null);
  byId("choose").focus();
});
byId("settings").addEventListener("change", () => current && ask(current, { autoplay: false }));

choose(null);
listen(add);
ready.catch((fault) => {
  byId("fault").textContent = fault.message;
  byId("fault").hidden = false;
});
