// What is shown: steps, tokens, problems, and what there is to know of the tenant.

import { Problem } from "./server.js";
import { ALGORITHMS, verdict } from "./token.js";

export const $ = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

export function announce(text) {
  $("announce").textContent = text;
}

// --- Steps ------------------------------------------------------------------------------------------------------------------------

/** Shows what is about to happen: one text for each step. */
export function prepareSteps(texts) {
  [...$("steps").children].forEach((item, i) => {
    item.querySelector("p").textContent = texts[i];
    setStep(item.dataset.step, "waiting");
  });
}

export function setStep(name, state, millis) {
  const item = $("steps").querySelector(`[data-step="${name}"]`);
  item.dataset.state = state;
  item.querySelector(".took").textContent = millis === undefined ? "" : `${Math.max(1, Math.round(millis))} ms`;
}

/** Runs one step and times it. */
export async function step(name, work) {
  setStep(name, "running");
  const started = performance.now();
  try {
    const value = await work();
    setStep(name, "done", performance.now() - started);
    return value;
  } catch (cause) {
    setStep(name, "failed");
    throw cause;
  }
}

// --- Tokens -----------------------------------------------------------------------------------------------------------------------

const when = (seconds) => new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });

function remaining(exp) {
  const left = Math.floor(exp - Date.now() / 1000);
  return left > 0 ? `good for another ${Math.floor(left / 60)} min ${left % 60} s` : "expired";
}

const MEANING = {
  alg: (v) => ALGORITHMS[v]?.text,
  kid: () => "Which of the tenant’s keys signed: a key inside the HSM",
  typ: () => "A JSON Web Token",
  sub: () => "The user, as the application names it",
  aud: () => "Who may accept it: the relying party",
  iss: () => "Who made it",
  jti: () => "This one token",
  cred: () => "The passkey’s id",
  ceremony: () => "What the user did to get it",
  iat: (v) => `Made ${when(v)}`,
  exp: (v) => `Until ${when(v)}: ${remaining(v)}`,
  auth_time: (v) => `The user answered ${when(v)}`,
  uv: (v) => (v ? "The user was verified: by PIN, fingerprint or the like" : "Somebody was there; who, was not verified"),
  be: (v) => (v ? "The passkey may be synced between devices" : "The passkey never leaves its device"),
  bs: (v) => (v ? "It is synced" : "It is not synced"),
  amr: () => "How the user was recognised (RFC 8176)",
  trans: () => "The transaction that was confirmed",
  trans_hash: () => "SHA-256 of its data",
};

/** A row of a list of members; `data-json` has the value for tests. */
function member(name, value, note = "") {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const row = element("div", {}, element("dt", { textContent: name }), element("dd", {}, text, element("span", { className: "note", textContent: note })));
  row.dataset.member = name;
  row.dataset.json = JSON.stringify(value);
  return row;
}

function showMembers(id, object) {
  $(id).replaceChildren(...Object.entries(object).map(([name, value]) => member(name, value, MEANING[name]?.(value))));
}

function showChecks(checks) {
  const items = Object.entries(checks).map(([name, [state, textContent]]) => {
    const item = element("li", { textContent });
    Object.assign(item.dataset, { check: name, state });
    return item;
  });
  $("checks").replaceChildren(...items);
  const [state, text] = verdict(checks);
  $("verification").dataset.state = state;
  $("verification-text").textContent = text;
}

let countdown;

/** Keeps the time left, and the verdict that depends on it, true for as long as the token is shown. */
function watchExpiry(claims, checks) {
  clearInterval(countdown);
  const note = $("claims").querySelector('[data-member="exp"] .note');
  if (!note) return;
  countdown = setInterval(() => {
    note.textContent = MEANING.exp(claims.exp);
    if (Date.now() / 1000 < claims.exp) return;
    clearInterval(countdown);
    showChecks({ ...checks, expiry: ["fail", "Expiry: the token has expired"] });
  }, 1000);
}

export function showToken(title, token, { checks, jwk }) {
  const [header, payload, signature] = token.parts.map((textContent, i) => element("span", { className: ["header", "payload", "signature"][i], textContent }));
  $("result-title").textContent = title;
  $("token-raw").replaceChildren(header, ".", payload, ".", signature);
  showMembers("header", token.header);
  showMembers("claims", token.claims);
  $("jwk").textContent = jwk ? JSON.stringify(jwk, null, 2) : "None matches the token.";
  showChecks(checks);
  watchExpiry(token.claims, checks);
  $("result").hidden = false;
  $("result-title").focus({ preventScroll: true });
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  $("result").scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
}

export function hideOutcome() {
  clearInterval(countdown);
  $("error").hidden = true;
  $("result").hidden = true;
}

// --- Problems and notices ---------------------------------------------------------------------------------------------------------

export function showProblem(cause) {
  const problem = cause instanceof Problem ? cause : new Problem({ title: "This page failed", details: `${cause.name}: ${cause.message}` });
  $("error-title").textContent = problem.title;
  $("error-details").textContent = problem.details;
  $("error-status").textContent = problem.status || "browser";
  $("error-advice").textContent = problem.advice;
  $("error-request").textContent = problem.requestId ? `Request ${problem.requestId}: the server’s log has more.` : "";
  $("error").dataset.status = problem.status;
  $("error").hidden = false;
  $("error").focus();
}

export function notice(kind, ...children) {
  $("notice").dataset.kind = kind;
  $("notice").replaceChildren(...children);
  $("notice").hidden = false;
}

// --- The tenant -------------------------------------------------------------------------------------------------------------------

export function showFacts(info) {
  $("facts").replaceChildren(
    member("tenant_id", info.tenant_id, "The first segment of every public path"),
    member("rp_id", info.rp_id, "The domain that its passkeys are bound to"),
    member("origins", info.origins.join(", "), "Where ceremonies may take place"),
    member("algorithm", info.algorithm, ALGORITHMS[info.algorithm]?.text),
  );
}

export function showExamples(info) {
  const base = `${location.origin}/${info.tenant_id}`;
  const post = (path, body) => `curl -s ${base}${path} \\\n  -H "apiKey: $API_KEY" -H "Content-Type: application/json" \\\n  -d '${JSON.stringify(body)}'`;
  const payment = { user_id: "u1", transaction_id: "pay-1", transaction_data: { text: "Pay 50 EUR to Example Books" } };
  const examples = [
    ["Begin a registration, as a backend does", post("/registration/initialize", { user_id: "u1", username: "ann" })],
    ["Begin a login for whoever has a passkey: no key needed", `curl -s -X POST ${base}/login/initialize`],
    ["Have a user confirm a payment", post("/transaction/initialize", payment)],
    ["List a user’s passkeys", `curl -s "${base}/credentials?user_id=u1" -H "apiKey: $API_KEY"`],
    ["Fetch the public keys that verify its tokens", `curl -s ${base}/.well-known/jwks.json`],
  ].map(([title, command], i) => {
    const pre = element("pre", { id: `example-${i}`, className: "code", tabIndex: 0, textContent: command });
    const button = element("button", { type: "button", className: "copy", textContent: "Copy", ariaLabel: `Copy: ${title}` });
    button.dataset.copy = pre.id;
    const head = element("div", { className: "raw-head" }, element("h3", { textContent: title }), button);
    return element("div", { className: "example" }, head, pre);
  });
  $("examples").replaceChildren(...examples);
}

export async function copy(button) {
  const source = $(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
    announce("Copied");
  } catch {
    getSelection().selectAllChildren(source);
    button.textContent = "Selected: press Ctrl+C";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}
