// The page of `passkey-hsm dev`: registers a passkey as any client would and verifies the token that comes back.
//
// For tests, these stay as they are:
//   body[data-state]            loading | ready | working | done | error
//   #username, #attestation-none, #attestation-direct, #register (the button), #register-form
//   #steps [data-step=initialize|create|finalize|verify][data-state=waiting|running|done|failed]
//   #error (hidden unless there is one) with #error-title, #error-details, #error-status; [data-status] is the number, 0 for the browser's own
//   #verification[data-state=pending|verified|refused|unverifiable], #verification-text
//   #checks [data-check=signature|key|audience|expiry|issued|credential][data-state=pass|fail|unknown]
//   #claims and #header: [data-member=NAME] with [data-json], the member's value as JSON
//   #token-raw (its text is the token), #jwk, #facts, #examples, #notice, [data-copy=ID]

const $ = (id) => document.getElementById(id);

/** What the page shows when something fails: the API's own three members, and what a person can do. */
class Problem extends Error {
  constructor({ title, details = "", status = 0, advice = "", requestId = "" }) {
    super(title);
    Object.assign(this, { title, details, status, advice, requestId });
  }
}

// --- The server -------------------------------------------------------------------------------------------------------------------

async function call(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, { ...options, cache: "no-store" });
  } catch (cause) {
    throw new Problem({ title: "The server did not answer", details: cause.message, advice: "Is it still running?" });
  }
  const text = await response.text();
  const answer = parseJson(text);
  if (response.ok && answer !== undefined) return answer;
  const retryAfter = response.headers.get("Retry-After");
  throw new Problem({
    title: answer?.title ?? `The server answered ${response.status}`,
    details: answer?.details ?? (answer === undefined ? text.slice(0, 300) : ""),
    status: answer?.status ?? response.status,
    advice: retryAfter ? `Nothing was used up: try again in ${retryAfter} s.` : "",
    requestId: response.headers.get("X-Request-Id") ?? "",
  });
}

function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// --- Base64url and WebAuthn's JSON forms ------------------------------------------------------------------------------------------

function decodeBase64url(text) {
  if (!/^[A-Za-z0-9_-]*={0,2}$/.test(text)) throw new Error("not base64url");
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
}

function encodeBase64url(buffer) {
  const binary = Array.from(new Uint8Array(buffer), (b) => String.fromCharCode(b)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** PublicKeyCredential.parseCreationOptionsFromJSON, for browsers that lack it. */
function parseCreationOptions(json) {
  if (PublicKeyCredential.parseCreationOptionsFromJSON) return PublicKeyCredential.parseCreationOptionsFromJSON(json);
  const withId = (item) => ({ ...item, id: decodeBase64url(item.id) });
  return { ...json, challenge: decodeBase64url(json.challenge), user: withId(json.user), excludeCredentials: (json.excludeCredentials ?? []).map(withId) };
}

/** PublicKeyCredential.toJSON, for browsers that lack it, and for password managers whose toJSON throws. */
function credentialToJson(credential) {
  try {
    if (credential.toJSON) return credential.toJSON();
  } catch {
    // Made by an extension that put a plain object in place of the browser's own: convert it by hand.
  }
  return {
    id: credential.id,
    rawId: encodeBase64url(credential.rawId),
    type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment ?? undefined,
    clientExtensionResults: credential.getClientExtensionResults?.() ?? {},
    response: {
      clientDataJSON: encodeBase64url(credential.response.clientDataJSON),
      attestationObject: encodeBase64url(credential.response.attestationObject),
      transports: credential.response.getTransports?.() ?? [],
    },
  };
}

const ADVICE = {
  NotAllowedError: "The dialog was dismissed, it timed out, or no device at hand could do it.",
  InvalidStateError: "This device already has a passkey for that user: choose another user name.",
  SecurityError: "The address of this page does not belong to the tenant’s relying party.",
  NotSupportedError: "This device offers none of the algorithms that the server accepts.",
  AbortError: "The browser gave up; try again.",
};

async function createCredential(options) {
  try {
    const credential = await navigator.credentials.create({ publicKey: parseCreationOptions(options.publicKey) });
    return credentialToJson(credential);
  } catch (cause) {
    throw new Problem({ title: `The browser made no passkey (${cause.name})`, details: cause.message, advice: ADVICE[cause.name] ?? "" });
  }
}

// --- The token --------------------------------------------------------------------------------------------------------------------

const EC = ["kty", "crv", "x", "y"];
const RSA = ["kty", "n", "e"];
const pkcs1 = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
const pss = { name: "RSA-PSS", hash: "SHA-256", saltLength: 32 };
const ALGORITHMS = {
  ES256: { text: "ECDSA on P-256 with SHA-256", members: EC, key: { name: "ECDSA", namedCurve: "P-256" }, verify: { name: "ECDSA", hash: "SHA-256" } },
  ES384: { text: "ECDSA on P-384 with SHA-384", members: EC, key: { name: "ECDSA", namedCurve: "P-384" }, verify: { name: "ECDSA", hash: "SHA-384" } },
  RS256: { text: "RSA (PKCS#1 v1.5) with SHA-256", members: RSA, key: pkcs1, verify: pkcs1 },
  PS256: { text: "RSA-PSS with SHA-256", members: RSA, key: pss, verify: pss },
  EdDSA: { text: "EdDSA on Ed25519", members: ["kty", "crv", "x"], key: { name: "Ed25519" }, verify: { name: "Ed25519" } },
};

function decodeToken(token) {
  const parts = token.split(".");
  if (parts.length !== 3) throw new Problem({ title: "The token is not a JWS", details: `It has ${parts.length} parts instead of 3.` });
  const json = (part) => parseJson(new TextDecoder().decode(decodeBase64url(part)));
  const [header, claims] = [json(parts[0]), json(parts[1])];
  if (!header || !claims) throw new Problem({ title: "The token is not a JWS", details: "Its header or its claims are not JSON." });
  return { parts, header, claims, signature: decodeBase64url(parts[2]), signed: new TextEncoder().encode(`${parts[0]}.${parts[1]}`) };
}

/** Finds the key that the token names: `{jwk}` or `{fault}`. The algorithm is the key's to say (RFC 8725 section 3.1), not the token's alone. */
function findKey(jwks, header) {
  const jwk = jwks.keys?.find((key) => key.kid === header.kid);
  if (!jwk) return { fault: `the JWKS has no key ${header.kid}` };
  if (jwk.alg !== header.alg) return { jwk, fault: `the key is for ${jwk.alg}, the token says ${header.alg}` };
  if (!ALGORITHMS[jwk.alg]) return { jwk, fault: `this page does not know ${jwk.alg}` };
  return { jwk };
}

/** `[state, text]` of the signature. Only an answer of WebCrypto is a pass or a fail. */
async function checkSignature(token, jwk) {
  const algorithm = ALGORITHMS[jwk.alg];
  try {
    const bare = Object.fromEntries(algorithm.members.map((name) => [name, jwk[name]]));
    const key = await crypto.subtle.importKey("jwk", bare, algorithm.key, false, ["verify"]);
    const good = await crypto.subtle.verify(algorithm.verify, key, token.signature, token.signed);
    return good ? ["pass", `Signature: ${jwk.alg}, by the key in the JWKS`] : ["fail", `Signature: does not verify with key ${jwk.kid}`];
  } catch (cause) {
    return ["unknown", `Signature: this browser cannot verify ${jwk.alg} (${cause.name})`];
  }
}

/** Every check as `{name: [state, text]}`, and the key used. */
async function checkToken(token, jwks, info, credential) {
  const { header, claims } = token;
  const { jwk, fault } = findKey(jwks, header);
  const audience = [claims.aud].flat();
  const now = Date.now() / 1000;
  const checks = {
    signature: fault ? ["fail", "Signature: not checked, there is no key to check it with"] : await checkSignature(token, jwk),
    key: fault ? ["fail", `Key: ${fault}`] : ["pass", "Key: the token’s kid is in the JWKS, for the same algorithm"],
    audience: audience.includes(info.rp_id) ? ["pass", `Audience: ${info.rp_id}`] : ["fail", `Audience: ${audience.join(", ")} is not ${info.rp_id}`],
    expiry: now < claims.exp ? ["pass", "Expiry: still good"] : ["fail", "Expiry: the token has expired"],
    issued: claims.iat <= now + 60 ? ["pass", "Issued: not in the future"] : ["fail", "Issued: in the future by this device’s clock"],
    credential: claims.cred === credential.id ? ["pass", "Passkey: the one just made"] : ["fail", "Passkey: not the one just made"],
  };
  return { checks, jwk };
}

function verdict(checks) {
  const failed = Object.values(checks).filter(([state]) => state === "fail").map(([, text]) => text);
  if (checks.signature[0] === "unknown") return ["unverifiable", `Not verified. ${checks.signature[1]}.`];
  if (failed.length > 0) return ["refused", `Not verified. ${failed.join(". ")}.`];
  return ["verified", "Verified against the JWKS in this browser"];
}

// --- What is shown ----------------------------------------------------------------------------------------------------------------

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

function announce(text) {
  $("announce").textContent = text;
}

function setStep(name, state, millis) {
  const step = $("steps").querySelector(`[data-step="${name}"]`);
  step.dataset.state = state;
  step.querySelector(".took").textContent = millis === undefined ? "" : `${Math.max(1, Math.round(millis))} ms`;
}

/** Runs one step and times it. */
async function step(name, work) {
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
};

function showMembers(id, object) {
  const rows = Object.entries(object).map(([name, value]) => {
    const note = MEANING[name]?.(value) ?? "";
    const text = typeof value === "string" ? value : JSON.stringify(value);
    const row = element("div", {}, element("dt", { textContent: name }), element("dd", {}, text, element("span", { className: "note", textContent: note })));
    row.dataset.member = name;
    row.dataset.json = JSON.stringify(value);
    return row;
  });
  $(id).replaceChildren(...rows);
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

function showToken(token, { checks, jwk }) {
  const [header, payload, signature] = token.parts.map((textContent, i) => element("span", { className: ["header", "payload", "signature"][i], textContent }));
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

function showProblem(cause) {
  const problem = cause instanceof Problem ? cause : new Problem({ title: "This page failed", details: `${cause.name}: ${cause.message}` });
  $("error-title").textContent = problem.title;
  $("error-details").textContent = problem.details;
  $("error-status").textContent = problem.status || "browser";
  $("error-advice").textContent = problem.advice;
  $("error-request").textContent = problem.requestId ? `Request ${problem.requestId}: the server’s log has more.` : "";
  $("error").dataset.status = problem.status;
  $("error").hidden = false;
  $("error").focus();
  document.body.dataset.state = "error";
}

function notice(kind, ...children) {
  $("notice").dataset.kind = kind;
  $("notice").replaceChildren(...children);
  $("notice").hidden = false;
}

function showFacts(info) {
  const fact = (name, value, note) => {
    const row = element("div", {}, element("dt", { textContent: name }), element("dd", {}, value, element("span", { className: "note", textContent: note })));
    row.dataset.member = name;
    return row;
  };
  $("facts").replaceChildren(
    fact("tenant_id", info.tenant_id, "The first segment of every public path"),
    fact("rp_id", info.rp_id, "The domain that its passkeys are bound to"),
    fact("origins", info.origins.join(", "), "Where ceremonies may take place"),
    fact("algorithm", info.algorithm, ALGORITHMS[info.algorithm]?.text ?? ""),
  );
}

function showExamples(info) {
  const base = `${location.origin}/${info.tenant_id}`;
  const examples = [
    ["Begin a registration, as a backend does", `curl -s ${base}/registration/initialize \\\n  -H "apiKey: $API_KEY" -H "Content-Type: application/json" \\\n  -d '{"user_id": "u1", "username": "ann"}'`],
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

async function copy(button) {
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

// --- The flow ---------------------------------------------------------------------------------------------------------------------

function readForm() {
  const username = $("username").value.trim();
  const help = $("username-help");
  const missing = username === "";
  $("username-missing").hidden = !missing;
  help.hidden = missing;
  $("username").setAttribute("aria-invalid", String(missing));
  if (missing) $("username").focus();
  const attestation = $("register-form").elements.attestation.value;
  return missing ? undefined : { username, attestation };
}

async function register(info, request) {
  clearInterval(countdown);
  document.body.dataset.state = "working";
  $("error").hidden = true;
  $("result").hidden = true;
  $("register").disabled = true;
  for (const item of $("steps").children) setStep(item.dataset.step, "waiting");
  announce("Follow your browser’s dialog to make the passkey.");
  try {
    const options = await step("initialize", () => call("/dev/register/initialize", request));
    const credential = await step("create", () => createCredential(options));
    const answer = await step("finalize", () => call(`/${info.tenant_id}/registration/finalize`, credential));
    const token = decodeToken(answer.token);
    const checked = await step("verify", async () => checkToken(token, await call(`/${info.tenant_id}/.well-known/jwks.json`), info, credential));
    const [state, text] = verdict(checked.checks);
    if (state !== "verified") setStep("verify", "failed");
    showToken(token, checked);
    announce(`The passkey is registered. Its token: ${text}`);
    document.body.dataset.state = "done";
  } catch (cause) {
    showProblem(cause);
  } finally {
    $("register").disabled = false;
  }
}

/** Says what would make every attempt fail, before one is made. Returns whether to go on. */
function fit(info) {
  if (!window.isSecureContext || !window.PublicKeyCredential) {
    notice("problem", "This browser offers no passkeys here. Use a current browser and open the page at https:// or http://localhost.");
    return false;
  }
  if (!info.origins.includes(location.origin)) {
    const home = info.origins.find((origin) => origin.startsWith("http"));
    const where = home ? element("a", { href: home, textContent: home }) : "another address";
    notice("warning", `This page is open at ${location.origin}, which the tenant does not accept. Open it at `, where, ".");
  }
  return true;
}

async function start() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
  try {
    const info = await call("/dev/info");
    showFacts(info);
    showExamples(info);
    $("register-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const request = readForm();
      if (request && document.body.dataset.state !== "working") register(info, request);
    });
    if (!fit(info)) return;
    $("register").disabled = false;
    document.body.dataset.state = "ready";
  } catch (cause) {
    showProblem(cause);
  }
}

start();
