// Small helpers to build and find elements.

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** A new element with properties (`class`, `text`, `on`, attributes) and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "text") element.textContent = value;
    else if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** A share in [0, 1] as a percentage with as many digits as matter. */
export function percent(share) {
  if (share >= 0.9995) return "100 %";
  if (share >= 0.1) return `${(100 * share).toFixed(1)} %`;
  return share >= 0.0005 ? `${(100 * share).toFixed(2)} %` : "< 0.1 %";
}
