// Labels with bars, and words of a caption. A click makes one known: the others then follow it.
import { make, percent } from "./dom.js";
import { bestOf, shownLabels } from "./frames.js";
import { colour } from "./river.js";

const MOST = 8; // labels of a single label
const FIRST = 6; // values of an attribute; the others are unfolded
const LEAST = 0.001; // probability that a label reaches at some step, to be shown
const unfolded = new Set(); // names of attributes

/** A bar whose length the style `--p` sets. */
const bar = () => [make("span", { class: "bar" }), make("span", { class: "fill" })];

/**
 * Rows of one group of labels. `show` moves the bars to a frame.
 * `fix` is called with a value's name; null: these labels cannot be known.
 */
export function labelRows(frames, index, { known, fix, before }) {
  const group = frames[0].groups[index];
  // Any value can be made known, however improbable it is.
  const names = fix ? shownLabels(frames, index, Infinity, 0) : shownLabels(frames, index, MOST, LEAST);
  const rows = names.map((name, rank) => {
    const share = make("span", { class: "share" });
    const parts = [...bar(), make("span", { class: "name", text: name }), share];
    const row = fix
      ? make("button", {
        class: "row", type: "button", "aria-pressed": String(known === name), "data-key": `${group.name}=${name}`,
        on: { click: () => fix(name) },
      }, ...parts)
      : make("div", { class: "row" }, ...parts);
    row.style.setProperty("--c", colour(rank));
    return { name, row, share };
  });
  const list = (some) => make("ul", { class: "rows" }, ...some.map(({ row }) => make("li", {}, row)));
  const first = rows.length <= FIRST + 2 ? rows.length : FIRST;
  const element = make("div", { class: "group" }, ...(group.name ? [make("h3", { text: group.name })] : []), list(rows.slice(0, first)));
  if (first < rows.length) {
    const rest = make("details", {
      open: unfolded.has(group.name),
      on: { toggle: ({ target }) => (target.open ? unfolded.add(group.name) : unfolded.delete(group.name)) },
    }, make("summary", { text: `${rows.length - first} more` }), list(rows.slice(first)));
    element.append(rest);
  }

  function show(frame) {
    const { shares } = frame.groups[index];
    const [best] = bestOf(frame.groups[index]);
    for (const { name, row, share } of rows) {
      const p = shares.get(name) ?? 0;
      row.style.setProperty("--p", p);
      row.classList.toggle("best", name === best);
      share.textContent = known === name ? "" : percent(p);
      // How far a label that was made known has moved this one, in points.
      const moved = frame.t === 0 && before?.has(name) ? Math.round(100 * (p - before.get(name))) : 0;
      if (moved && known === undefined) share.prepend(make("span", { class: "moved", text: `${moved > 0 ? "+" : "−"}${Math.abs(moved)}` }));
    }
  }
  return { element, names, show };
}

/** Words of a caption as buttons: pressed ones are held, and all others are free. */
export function captionWords(held, { hold, apply, vocabulary }) {
  const words = make("div", { id: "words", role: "group", "aria-label": "Words of the caption" });
  const hint = make("span", { class: "hint", text: "click a word to hold it; the others are written anew around it" });
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
    others.replaceChildren(...(last ? answer.captions.slice(1) : []).map((caption) => {
      const row = make("li", { class: "row" }, ...bar(), make("span", { class: "name", text: caption.text || "(no words)" }),
        make("span", { class: "share", text: percent(caption.probability) }));
      row.style.setProperty("--p", caption.probability);
      row.style.setProperty("--c", "var(--c6)");
      return row;
    }));
  }
  return { element, show };
}
