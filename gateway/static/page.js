"use strict";

// Lists the operations of /schema/openapi.json, grouped by plugin, with a form to try each.
// All text enters the page as text nodes, never as markup.

const METHODS = ["get", "post", "put", "patch", "delete"];
const MAX_SHOWN = 200000;

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

function prose(text) {
  return text.split(/`+([^`]+)`+/).map((part, index) => index % 2 ? element("code", {}, part) : part);
}

function resolved(api, thing) {
  if (!thing || !thing.$ref) return thing;
  return thing.$ref.slice(2).split("/").reduce((found, key) => found[key.replaceAll("~1", "/").replaceAll("~0", "~")], api);
}

// One line for a schema, such as `string ≤ 100` or `Money`.
function kindOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(kindOf).join(" | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return "[" + kindOf(schema.items) + "]";
  const bounds = [];
  if (schema.minimum !== undefined) bounds.push("≥ " + schema.minimum);
  if (schema.exclusiveMinimum !== undefined) bounds.push("> " + schema.exclusiveMinimum);
  if (schema.maximum !== undefined) bounds.push("≤ " + schema.maximum);
  if (schema.minLength !== undefined) bounds.push("length ≥ " + schema.minLength);
  if (schema.maxLength !== undefined) bounds.push("length ≤ " + schema.maxLength);
  if (schema.format) bounds.push(schema.format);
  if (schema.pattern) bounds.push(schema.pattern);
  return [schema.type || "any", ...bounds].join(" ");
}

// The fields of a schema and of what it refers to, as an indented text.
function fieldsOf(api, schema, depth, seen) {
  const whole = resolved(api, schema) || {};
  const name = schema && schema.$ref;
  if (whole.anyOf) return whole.anyOf.map((one) => fieldsOf(api, one, depth, seen)).join("");
  if (whole.type === "array") return fieldsOf(api, whole.items, depth, seen);
  if (!whole.properties || depth > 6 || (name && seen.includes(name))) return "";
  const required = whole.required || [];
  return Object.entries(whole.properties).map(([field, inner]) =>
    "  ".repeat(depth) + field + (required.includes(field) ? "" : "?") + ": " + kindOf(inner) + "\n" +
    fieldsOf(api, inner, depth + 1, name ? [...seen, name] : seen)).join("");
}

function schemaBlock(api, title, schema) {
  if (!schema) return null;
  const fields = fieldsOf(api, schema, 0, []) || kindOf(resolved(api, schema));
  return element("div", {}, element("h3", {}, title + " ", element("span", { class: "note" }, kindOf(schema))), element("pre", {}, fields));
}

function responses(api, operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) => {
    const found = resolved(api, response);
    return element("tr", {}, element("th", {}, status), element("td", {}, element("pre", {}, ...prose(found.description))));
  });
  return element("details", {}, element("summary", {}, "Answers"), element("table", {}, ...rows));
}

function requestOf(path, method, operation, form) {
  let url = path;
  const query = new URLSearchParams();
  const headers = {};
  for (const parameter of operation.parameters || []) {
    const value = form.elements["p:" + parameter.name].value;
    if (parameter.in === "path") url = url.replace("{" + parameter.name + "}", encodeURIComponent(value));
    else if (value !== "" && parameter.in === "query") query.set(parameter.name, value);
    else if (value !== "") headers[parameter.name] = value;
  }
  const token = document.getElementById("token").value.trim();
  if (token) headers.Authorization = "Bearer " + token;
  const options = { method: method.toUpperCase(), headers, credentials: "omit" };
  const body = form.elements.body;
  if (body && body.value.trim()) {
    options.body = body.value;
    headers["Content-Type"] = operation.requestBody.content["application/json"] ? "application/json" : "application/octet-stream";
  }
  const text = query.toString();
  return [text ? url + "?" + text : url, options];
}

// Shows an answer as it arrives, so that live streams are seen too.
async function send(event, path, method, operation, output, state) {
  event.preventDefault();
  if (state.abort) state.abort.abort();
  state.abort = new AbortController();
  const [url, options] = requestOf(path, method, operation, event.target);
  output.textContent = "…";
  try {
    const answer = await fetch(url, { ...options, signal: state.abort.signal });
    const lines = [...answer.headers].map(([name, value]) => name + ": " + value);
    output.textContent = answer.status + " " + answer.statusText + "\n" + lines.join("\n") + "\n\n";
    await show(answer, output);
  } catch (error) {
    if (error.name !== "AbortError") output.textContent += "\n" + error;
  }
}

async function show(answer, output) {
  const isJson = (answer.headers.get("content-type") || "").includes("json");
  if (isJson) {
    const text = await answer.text();
    try { output.textContent += JSON.stringify(JSON.parse(text), null, 2); } catch { output.textContent += text; }
    return;
  }
  if (!answer.body) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    if (output.textContent.length < MAX_SHOWN) output.append(piece.value);
  }
}

function tryForm(path, method, operation) {
  const output = element("pre", {});
  const state = {};
  const fields = (operation.parameters || []).map((parameter) => element("tr", {},
    element("th", {}, element("label", { for: operation.operationId + parameter.name }, parameter.name)),
    element("td", {}, element("input", {
      id: operation.operationId + parameter.name, name: "p:" + parameter.name,
      required: parameter.required, placeholder: parameter.schema.default,
    })),
    element("td", { class: "note" }, parameter.in + " · " + kindOf(parameter.schema) + " " + (parameter.description || ""))));
  const body = operation.requestBody;
  const example = body && body.content["application/json"] && body.content["application/json"].example;
  const area = body && element("textarea", { name: "body", spellcheck: "false", "aria-label": "Body" },
    example === undefined || !example ? "" : JSON.stringify(example, null, 2));
  const stop = element("button", { type: "button", onclick: () => state.abort && state.abort.abort() }, "Stop");
  return element("form", { onsubmit: (event) => send(event, path, method, operation, output, state) },
    element("h3", {}, "Try it"), element("table", {}, ...fields), area,
    element("p", {}, element("button", {}, "Send"), " ", stop), output);
}

function operationBlock(api, path, method, operation) {
  const who = operation["x-permission"] || (operation.security.length > 1 ? "anybody" : "logged in");
  const block = element("details", { class: "operation", id: operation.operationId },
    element("summary", {}, element("span", { class: "method" }, method.toUpperCase()),
      element("span", { class: "path" }, path), " ", element("span", { class: "note" }, ...prose(operation.summary))));
  block.addEventListener("toggle", () => {
    if (block.childElementCount > 1) return;
    const body = operation.requestBody && operation.requestBody.content["application/json"];
    const good = Object.entries(operation.responses).find(([status]) => status < "400");
    const reply = good && good[1].content && good[1].content["application/json"];
    block.append(element("div", {}, element("p", {}, ...prose(operation.description)),
      element("p", { class: "note" }, "Who: " + who),
      schemaBlock(api, "Body", body && body.schema),
      schemaBlock(api, "Answer " + (good ? good[0] : ""), reply && reply.schema),
      responses(api, operation), tryForm(path, method, operation)));
  });
  return block;
}

function render(api, wanted) {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  const groups = new Map(api.tags.map((tag) => [tag.name, []]));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const operation = item[method];
      const text = [method, path, operation.operationId, operation.summary].join(" ").toLowerCase();
      if (words.every((word) => text.includes(word))) groups.get(operation.tags[0]).push(operationBlock(api, path, method, operation));
    }
  }
  const sections = api.tags.filter((tag) => groups.get(tag.name).length).map((tag) => element("section", {},
    element("h2", {}, tag.name + " ", element("small", {}, tag.description)), ...groups.get(tag.name)));
  document.getElementById("operations").replaceChildren(...(sections.length ? sections : [element("p", {}, "Nothing is found.")]));
}

async function start() {
  const answer = await fetch("/schema/openapi.json");
  const api = await answer.json();
  document.getElementById("title").textContent = api.info.title + " API " + api.info.version;
  document.getElementById("description").replaceChildren(...prose(api.info.description));
  const search = document.getElementById("search");
  search.addEventListener("input", () => render(api, search.value));
  render(api, search.value);
}

start().catch((error) => {
  document.getElementById("operations").replaceChildren(element("p", {}, "The document could not be read: " + error));
});
