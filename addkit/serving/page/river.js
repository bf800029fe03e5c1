// The chart above the slider: from noise on the left to the answer on the right.

const SVG = "http://www.w3.org/2000/svg";
const COLOURS = 8;

function shape(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** The colour of the label of this rank. */
export const colour = (rank) => (rank < COLOURS ? `var(--c${rank})` : "var(--rest)");

/** Streams of one group: each label as wide as it is probable, at every step. */
export function streams(frames, group, names, several) {
  const svg = shape("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none" });
  svg.classList.add("streams");
  svg.classList.toggle("several", several);
  const last = Math.max(1, frames.length - 1);
  let floor = frames.map(() => 0);
  names.forEach((name, rank) => {
    const top = frames.map((frame, i) => floor[i] + 100 * (frame.groups[group].shares.get(name) ?? 0));
    const along = (heights) => heights.map((y, i) => `${(100 * i) / last},${y}`);
    const path = shape("path", { d: `M${along(floor).join("L")}L${along(top).reverse().join("L")}Z` });
    path.style.fill = colour(rank);
    svg.append(path);
    floor = top;
  });
  return svg;
}

/** A line of squares for each word or tag, as strong as it is probable. `shares` has those of a frame. */
export function squares(frames, shares) {
  const columns = frames.map(shares);
  const rows = Math.max(1, ...columns.map((column) => column.length));
  const svg = shape("svg", { viewBox: `0 0 ${frames.length} ${rows}`, preserveAspectRatio: "none" });
  svg.style.height = `${Math.max(40, 13 * rows)}px`;
  columns.forEach((column, x) => {
    column.forEach((share, y) => {
      const square = shape("rect", { x: x + 0.04, y: y + 0.06, width: 0.92, height: 0.88 });
      square.style.fill = "var(--c0)";
      square.style.opacity = 0.08 + 0.92 * share;
      svg.append(square);
    });
  });
  return svg;
}

/** A strip of grain that thins out to the right: noise in the labels that the network reads. */
export function grain() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [280, 4];
  const pen = canvas.getContext("2d");
  pen.fillStyle = getComputedStyle(document.body).color;
  let state = 0; // of mulberry32: the grain must not flicker when it is drawn again
  const draw = () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
  for (let x = 0; x < canvas.width; x++) {
    for (let y = 0; y < canvas.height; y++) {
      pen.globalAlpha = draw() ** 2 * (1 - x / canvas.width) ** 1.5;
      pen.fillRect(x, y, 1, 1);
    }
  }
  canvas.className = "grain";
  return canvas;
}
