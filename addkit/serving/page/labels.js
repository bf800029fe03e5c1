// Labels with bars, and words of a caption. A click makes one known: the others then follow it.
import { make, percent } from "./dom.js";
import { shownLabels } from "./frames.js";
import { colour } from "./river.js";

const MOST = 8; // labels of a single label
const FIRST = 6; // values of an attribute; the others are unfolded
const LEAST = 0.001; // probability that a label reaches at some step, to be shown
const unfolded = new Set(); // names of attributes

/** A bar whose length the style `--p` sets. */
const bar = () => [make("span", { class: "bar" }), make("span", { class: "fill" })];

/**
 * Rows of one group of labels. `show` moves the bars to a frame. `known` gives what is known of a
 * name, as a text, or undefined.
 * `fix` is called with a value's name; null: these labels cannot be known. `observe` is called with
 * soft evidence, probabilities by value; null: the model takes in none.
 */
export function labelRows(frames, index, { known, fix, before, evidence, observe }) {
  const group = frames[0].groups[index];
  // Any value can be made known, however improbable it is.
  const names = fix ? shownLabels(frames, index, Infinity, 0) : shownLabels(frames, index, MOST, LEAST);
  const rows = names.map((name, rank) => {
    const share = make("span", { class: "share" });
    const parts = [...bar(), make("span", { class: "name", text: name }), share];
    const row = fix
      ? make("button", {
        class: "row", type: "button", "aria-pressed": String(Boolean(known(name))), "data-key": `${group.name}=${name}`,
        on: { click: () => fix(name) },
      }, ...parts)
      : make("div", { class: "row" }, ...parts);
    row.style.setProperty("--c", colour(rank));
    return { name, row, share };
  });
  const list = (some) => make("ul", { class: "rows" }, ...some.map(({ row }) => make("li", {}, row)));
  // The most probable ones, and what is known.
  const most = rows.length <= FIRST + 2 ? rows.length : FIRST;
  const first = rows.filter(({ name }, rank) => rank < most || known(name));
  const others = rows.filter((row) => !first.includes(row));
  const element = make("div", { class: "group" }, ...(group.name ? [make("h3", { text: group.name })] : []), list(first));
  if (others.length) {
    const rest = make("details", {
      open: unfolded.has(group.name),
      on: { toggle: ({ target }) => (target.open ? unfolded.add(group.name) : unfolded.delete(group.name)) },
    }, make("summary", { text: `${others.length} more` }), list(others));
    element.append(rest);
  }

  if (observe) element.append(evidenceSliders(group.name, names, evidence, observe));

  function show(frame) {
    const { shares } = frame.groups[index];
    for (const { name, row, share } of rows) {
      const p = shares.get(name) ?? 0;
      row.style.setProperty("--p", p);
      row.classList.toggle("best", frame.best.some((best) => best[0] === name));
      share.replaceChildren(known(name) ? make("b", { text: known(name) }) : percent(p));
      // How far a label that was made known has moved this one, in points.
      const moved = frame.t === 0 && before?.has(name) ? Math.round(100 * (p - before.get(name))) : 0;
      if (moved && !names.some(known)) share.prepend(make("span", { class: "moved", text: `${moved > 0 ? "+" : "−"}${Math.abs(moved)}` }));
    }
  }
  return { element, names, show };
}

/**
 * Soft evidence: a slider for each value of an attribute, its probability by something other than
 * the picture. Values that were not moved share the rest. Tags, which have no name in common, are
 * independent: each is as likely as not until it is moved.
 */
function evidenceSliders(attribute, names, evidence, observe) {
  const moved = { ...evidence };
  const sliders = names.map((name) => {
    const slider = make("input", {
      type: "range", min: 0, max: 100, "data-key": `evidence ${attribute}=${name}`,
      "aria-label": attribute ? `${attribute}: ${name}` : name,
      on: { input: () => move(name, slider.value / 100), change: () => observe({ ...moved }) },
    });
    return { name, slider, share: make("span", { class: "share" }) };
  });
  /** Set one probability; the other moved ones of an attribute make room for it. */
  function move(name, p) {
    const others = attribute ? Object.keys(moved).filter((other) => other !== name) : [];
    const sum = others.reduce((total, other) => total + moved[other], 0);
    for (const other of others) if (sum > 1 - p) moved[other] *= (1 - p) / sum;
    moved[name] = p;
    draw();
  }
  function draw() {
    const free = names.filter((name) => !(name in moved)).length;
    const left = Math.max(0, 1 - Object.values(moved).reduce((total, p) => total + p, 0)) / (free || 1);
    for (const { name, slider, share } of sliders) {
      const p = moved[name] ?? (attribute ? left : 0.5);
      slider.value = 100 * p;
      share.textContent = `${Math.round(100 * p)} %`;
      slider.classList.toggle("moved", name in moved);
    }
  }
  draw();
  const key = `evidence ${attribute}`;
  return make("details", {
    class: "evidence", open: unfolded.has(key),
    on: { toggle: ({ target }) => (target.open ? unfolded.add(key) : unfolded.delete(key)) },
  },
  make("summary", { text: evidence ? "Soft evidence (in use)" : "Soft evidence" }),
  make("p", { class: "quiet", text: `What is known of ${attribute ? "this label" : "each tag"} from elsewhere: probabilities without the picture.` }),
  ...sliders.map(({ name, slider, share }) => make("label", {}, make("span", { text: name }), slider, share)),
  make("button", { type: "button", "data-key": `${key} off`, text: "Forget it", on: { click: () => observe(null) } }));
}

/** Words of a caption as buttons: pressed ones are held, and all others are free. */
export function captionWords(held, { hold, apply, vocabulary }) {
  const words = make("div", { id: "words", role: "group", "aria-label": "Words of the caption" });
  const hint = make("span", { class: "hint", text: "click a word to keep it; the others are written anew around it" });
  const suggestions = make("datalist", { id: "vocabulary" }, ...vocabulary.map((word) => make("option", { value: word })));
  const input = make("input", { id: "template", "aria-label": "Template: words, and _ for each free one", placeholder: "a template, such as: red _ _", autocomplete: "off" });
  const form = make("form", { on: { submit: (event) => { event.preventDefault(); apply(input.value.trim()); } } },
    input, make("button", { type: "submit", text: "Write" }));
  const others = make("ul", { class: "rows" });
  const element = make("div", {}, make("h3", { text: "Caption" }, hint), words, form, others, suggestions);
  let shown = [];

  function show(frame, answer, typed) {
    const last = frame.t === 0;
    shown = frame.words;
    words.replaceChildren(...shown.map((word, index) => {
      const button = make("button", {
        type: "button", class: "word", "aria-pressed": String(held.has(index)), "data-key": `word ${index}`,
        title: percent(word.probability), on: { click: () => hold(index, shown.map(({ text }) => text)) },
      }, make("span", { class: "sharp", text: word.text }), make("i", {}, make("b")));
      button.style.setProperty("--p", word.probability);
      return button;
    }));
    if (!shown.length) words.append(make("span", { class: "quiet", text: "(no words)" }));
    input.value = typed ?? (held.size ? shown.map(({ text }, index) => (held.has(index) ? text : "_")).join(" ") : "");
    // Several chains may end at the same caption.
    const distinct = new Map(answer.captions.map((caption) => [caption.text, caption]));
    distinct.delete(answer.captions[0].text);
    others.replaceChildren(...(last ? [...distinct.values()] : []).map((caption) => {
      const row = make("li", { class: "row" }, ...bar(), make("span", { class: "name", text: caption.text || "(no words)" }),
        make("span", { class: "share", text: percent(caption.probability) }));
      row.style.setProperty("--p", caption.probability);
      row.style.setProperty("--c", "var(--c6)");
      return row;
    }));
  }
  return { element, show };
}
