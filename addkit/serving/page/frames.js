// An answer of the server as frames: what is predicted at each step of the chain, then the answer.

/**
 * A frame has `t` (1 is pure noise; 0 the answer), `groups`, `best` and `words`; `best` is a label of
 * each group, or the present tags, with probabilities.
 * A group is an attribute, the only label, or all tags, with its name and a map from labels to
 * probabilities.
 * Words are those of a caption, with their probabilities.
 */
export function framesOf(answer) {
  return [...(answer.trace ?? []), { ...answer, t: 0 }].map(frame);
}

function frame(step) {
  const single = step.labels ?? step.tags;
  const marginals = step.marginals ?? (single ? { "": single } : {});
  const groups = Object.entries(marginals).map(([name, scores]) => ({
    name,
    shares: new Map(scores.map((score) => [score.name, score.probability])),
  }));
  // The best joint answer need not have the most probable value of each attribute.
  const present = step.tags?.filter((tag) => tag.present).map((tag) => [tag.name, tag.probability]);
  const best = present ?? groups.map((group) => {
    const name = step.answers?.[0].values[group.name] ?? bestOf(group);
    return [name, group.shares.get(name) ?? 0];
  });
  return { t: step.t, groups, best, words: step.captions?.[0].tokens ?? [] };
}

/** The labels of a group that reach `least` at some step, the answer's most probable first. */
export function shownLabels(frames, group, most, least) {
  const last = frames.at(-1).groups[group].shares;
  const largest = new Map();
  for (const each of frames) {
    for (const [name, share] of each.groups[group].shares) {
      largest.set(name, Math.max(share, largest.get(name) ?? 0));
    }
  }
  const names = [...largest.keys()].sort((a, b) => largest.get(b) - largest.get(a));
  const shown = names.slice(0, most).filter((name, rank) => rank < 3 || largest.get(name) >= least);
  return shown.sort((a, b) => (last.get(b) ?? 0) - (last.get(a) ?? 0));
}

/** The most probable label of a group. */
export function bestOf(group) {
  return [...group.shares].reduce((best, each) => (each[1] > best[1] ? each : best), ["", -1])[0];
}
