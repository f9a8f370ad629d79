// Shows /openapi.json. What the document says is set as text, never as markup.

const byId = (id) => document.getElementById(id);

/** An element with attributes and children; texts become text nodes. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const schemaName = (reference) => reference.split("/").at(-1);

/** A schema as JSON, in which references lead to their places on the page. */
function schemaView(schema) {
  const pre = make("pre", { tabindex: "0" });
  const text = JSON.stringify(schema, null, 2);
  let end = 0;
  for (const match of text.matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
    pre.append(text.slice(end, match.index), make("a", { href: `#schema-${match[1]}` }, match[1]));
    end = match.index + match[0].length;
  }
  pre.append(text.slice(end));
  return pre;
}

function resolve(api, value) {
  return value.$ref ? api.components.parameters[schemaName(value.$ref)] : value;
}

function bounds(schema) {
  const parts = [[schema.type].flat().join(" or ")];
  for (const key of ["format", "minLength", "maxLength", "minimum", "maximum", "default"]) {
    if (schema[key] !== undefined) parts.push(`${key} ${schema[key]}`);
  }
  if (schema.enum) parts.push(schema.enum.join(" | "));
  return parts.join(", ");
}

function parameters(api, operation) {
  if (operation.parameters.length === 0) return null;
  const rows = operation.parameters.map((parameter) => {
    const { name, in: place, required, schema, description } = resolve(api, parameter);
    return make("tr", {}, make("th", { scope: "row" }, make("code", {}, name)), make("td", {}, required ? `${place}, required` : place),
      make("td", {}, bounds(schema)), make("td", {}, description ?? ""));
  });
  const head = make("tr", {}, ...["Parameter", "In", "Form", "Meaning"].map((title) => make("th", { scope: "col" }, title)));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}

function responses(operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) => {
    const schema = response.content?.["application/json"]?.schema;
    const row = make("tr", { class: status < "400" ? "good" : "bad" }, make("th", { scope: "row" }, status), make("td", {}, response.description));
    row.append(make("td", {}, schema && status < "400" ? schemaView(schema) : ""));
    return row;
  });
  const head = make("tr", {}, ...["Status", "Meaning or title", "Body"].map((title) => make("th", { scope: "col" }, title)));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}

function operationView(api, path, method, operation) {
  const key = operation.security.some((way) => way.apiKey) ? "API key" : "";
  const optional = operation.security.some((way) => Object.keys(way).length === 0);
  const summary = make("summary", {}, make("span", { class: `method ${method}` }, method.toUpperCase()), make("code", {}, path),
    make("span", { class: "what" }, operation.summary), key ? make("span", { class: "key" }, optional ? `${key}, sometimes` : key) : null);
  const body = operation.requestBody?.content["application/json"].schema;
  return make("details", { id: operation.operationId, "data-find": `${method} ${path} ${operation.operationId} ${JSON.stringify(operation)}`.toLowerCase() },
    summary, operation.description ? make("p", {}, operation.description) : null, parameters(api, operation),
    body ? make("h3", {}, "Request body") : null, body ? schemaView(body) : null, make("h3", {}, "Responses"), responses(operation));
}

function show(api) {
  byId("about").textContent = api.info.description;
  byId("server").textContent = api.servers[0].url;
  for (const [path, item] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(item)) byId("operations").append(operationView(api, path, method, operation));
  }
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    byId("schemas").append(make("details", { id: `schema-${name}` }, make("summary", {}, make("code", {}, name)), schemaView(schema)));
  }
  byId("schemas").hidden = false;
  byId("state").hidden = true;
}

/** A link to an operation or a schema opens it. */
function openTarget() {
  const target = byId(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
}

byId("find").addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  for (const operation of byId("operations").children) operation.hidden = !operation.dataset.find.includes(wanted);
});
addEventListener("hashchange", openTarget);

try {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  show(await answer.json());
  openTarget();
} catch (error) {
  byId("state").textContent = `The document could not be read: ${error.message}`;
}
