// Requests to the server that sent this page, and to no other.
import { byId } from "./dom.js";

let token = sessionStorage.getItem("addkit-token") ?? "";

// `/#token=...`: the part behind # is never sent, and is taken out of the address at once.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  remember(given);
  history.replaceState(null, "", location.pathname + location.search);
}

function remember(text) {
  token = text;
  sessionStorage.setItem("addkit-token", text);
}

/** What the server refused, in its own words. */
export class Fault extends Error {
  constructor(text, status = 0) {
    super(text);
    this.status = status;
  }
}

/** The JSON of a path. Asks for a token where one is missing or wrong; throws `Fault`. */
async function ask(path, options = {}) {
  for (;;) {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch {
      throw new Fault("The server does not answer. Is it still running?");
    }
    if (response.status === 401) {
      await askForToken();
      continue;
    }
    const body = await response.json().catch(() => ({}));
    if (!response.ok) throw new Fault(body.error ?? `The server answered with status ${response.status}.`, response.status);
    return body;
  }
}

let asking = null;

/** One dialog, however many requests wait for it. */
function askForToken() {
  asking ??= new Promise((resolve) => {
    const dialog = byId("token-dialog");
    dialog.addEventListener("close", () => {
      asking = null;
      remember(byId("token").value);
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

/** The card of the model. */
export const model = () => ask("model");

/** The answer for an image file; settings that are undefined are the model's own. */
export function predict(file, settings) {
  const form = new FormData();
  form.append("image", file, "image");
  for (const [name, value] of Object.entries(settings)) {
    if (value !== undefined) form.append(name, typeof value === "string" ? value : JSON.stringify(value));
  }
  return ask("predict", { method: "POST", body: form });
}
