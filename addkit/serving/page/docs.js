// The endpoints of openapi.json as a page.
import { byId, make } from "./dom.js";

const spec = await (await fetch("openapi.json")).json();
byId("title").textContent = spec.info.title;
document.title = spec.info.title;
const here = new URL(".", location.href).href;

/** A schema behind `$ref`. */
const resolve = (schema) => (schema.$ref ? spec.components.schemas[schema.$ref.split("/").at(-1)] : schema);

/** The type of a value in a few words. */
function typeOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map(typeOf).filter((type) => type !== "null").join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items ?? {})}`;
  if (schema.type === "object") return "object";
  return schema.format === "binary" ? "file" : schema.type ?? "any";
}

/** Bounds of a number. */
function bounds(schema) {
  const of = schema.anyOf?.find((each) => each.type !== "null") ?? schema;
  const parts = [];
  if (of.minimum !== undefined) parts.push(`at least ${of.minimum}`);
  if (of.maximum !== undefined) parts.push(`at most ${of.maximum}`);
  if (schema.default !== undefined && schema.default !== null) parts.push(`default ${JSON.stringify(schema.default)}`);
  return parts.join(", ");
}

function table(schema) {
  const rows = Object.entries(resolve(schema).properties ?? {}).map(([name, value]) => {
    const text = [value.description, bounds(value)].filter(Boolean).join(" ");
    return make("tr", {}, make("th", { text: name, scope: "row" }), make("td", { text: typeOf(value) }), make("td", { text }));
  });
  return make("table", {}, make("tbody", {}, ...rows));
}

for (const [path, methods] of Object.entries(spec.paths)) {
  for (const [method, endpoint] of Object.entries(methods)) {
    const body = endpoint.requestBody?.content;
    const answer = endpoint.responses[200]?.content?.["application/json"]?.schema;
    const faults = Object.entries(endpoint.responses).filter(([status]) => status !== "200");
    const url = here + path.slice(1);
    const call = body ? `curl -F image=@photo.jpg -F steps=20 -F trace=true ${url}` : `curl ${url}`;
    byId("endpoints").append(make("section", {},
      make("h2", {}, make("b", { text: method.toUpperCase() }), path),
      make("p", { class: "quiet", text: endpoint.description ?? "" }),
      make("h3", { text: "Example" }), make("pre", { text: call, tabindex: "0" }),
      ...(body ? [
        make("h3", { text: `Body: ${Object.keys(body).join(", or ")}` }),
        make("p", { class: "quiet", text: "In a form the image is a file, and objects are JSON; in JSON the image is the file's base64." }),
        table(body["application/json"].schema),
      ] : []),
      ...(answer ? [make("h3", { text: "Answer" }), table(answer)] : []),
      ...(faults.length ? [
        make("h3", { text: "Other statuses" }),
        make("table", {}, make("tbody", {}, ...faults.map(([status, fault]) =>
          make("tr", {}, make("th", { text: status, scope: "row" }), make("td", { text: fault.description }))))),
      ] : []),
    ));
  }
}
