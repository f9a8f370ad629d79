// The page of `passkey-hsm dev`: a client of the public API like any other, which verifies each token that it gets.
//
// For tests, these stay as they are:
//   body[data-state]            loading | ready | working | done | error; [data-flow] is the last flow's name; [data-user] who is signed in
//   #username, #attestation-none, #attestation-direct, #register (the button), #register-form
//   #login-user, #login, #login-any, #login-form, #autofill[data-state=off|waiting], #sign-out
//   #mfa-register, #mfa-login, #amount, #payee, #pay-text, #pay, #pay-form
//   #steps [data-step=initialize|credential|finalize|verify][data-state=waiting|running|done|failed]
//   #error (hidden unless there is one) with #error-title, #error-details, #error-status; [data-status] is the number, 0 for the browser's own
//   #verification[data-state=pending|verified|refused|unverifiable], #verification-text
//   #checks [data-check=signature|key|audience|expiry|issued|credential|ceremony|user|transaction|data][data-state=pass|fail|unknown]
//   #claims and #header: [data-member=NAME] with [data-json], the member's value as JSON
//   #token-raw (its text is the token), #jwk, #facts, #examples, #notice, [data-copy=ID]
//   #passkey-list [data-credential=ID][data-kind=passkey|mfa], #events [data-event=TYPE]

import { showEvents, showPasskeys } from "./lists.js";
import { backend, call } from "./server.js";
import { checkToken, decodeToken, verdict } from "./token.js";
import { $, announce, copy, element, hideOutcome, notice, prepareSteps, setStep, showExamples, showFacts, showProblem, showToken, step } from "./view.js";
import { createCredential, getCredential, offersAutofill } from "./webauthn.js";

/** What `/dev/info` says of the tenant. */
let info;
/** Who is signed in on this page: the `sub` of the last token that was good. */
let user;

const tenantPath = (path) => `/${info.tenant_id}${path}`;

// --- The flows --------------------------------------------------------------------------------------------------------------------
//
// Each names the steps' texts, begins (options), asks the device (a credential), finalizes (a token), and knows what the token must say.

const VERIFY = "This page fetches the tenant’s public keys and checks the token with them.";
const WITH_KEY = "with its API key";

const registration = (request) => ({
  name: "register",
  title: "Registered",
  hint: "Follow your browser’s dialog to make the passkey.",
  steps: [
    `The server makes a challenge. An application’s backend would ask for it ${WITH_KEY}.`,
    "Your device makes a key pair for this site and signs the challenge’s context.",
    "The server verifies what came back, has the HSM sign a token, and stores the passkey.",
    VERIFY,
  ],
  begin: () => call("/dev/register/initialize", request),
  ask: createCredential,
  finish: (credential) => call(tenantPath("/registration/finalize"), credential),
  expected: { ceremony: "registration" },
});

const SIGN_IN_STEPS = [
  "Your device signs the challenge, once you agree.",
  "The server verifies the signature and the counter, and has the HSM sign a token.",
  VERIFY,
];

const login = (name) => ({
  name: "login",
  title: "Signed in",
  hint: "Follow your browser’s dialog to use the passkey.",
  steps: [
    name === undefined ? "The server makes a challenge for whoever answers. Nothing is stored, no key is needed." : `The backend asks for this user’s passkeys ${WITH_KEY}.`,
    ...SIGN_IN_STEPS,
  ],
  begin: () => (name === undefined ? call(tenantPath("/login/initialize"), {}) : backend("/login/initialize", { user_id: name })),
  ask: getCredential,
  finish: (credential) => call(tenantPath("/login/finalize"), credential),
  expected: { ceremony: "login", user: name },
});

/** The device has answered already: what is left is to finish. */
const autofillLogin = (options, credential) => ({ ...login(), name: "autofill", begin: () => options, ask: () => credential });

const mfaRegistration = () => ({
  name: "mfa-register",
  title: "Second factor added",
  hint: "Follow your browser’s dialog to add the second factor.",
  steps: [
    `The backend begins, ${WITH_KEY}: only a user who is signed in gets a second factor.`,
    "Your device makes another key pair, of its own kind.",
    "The backend hands on what came back; the HSM signs a token that says mfa_registration.",
    VERIFY,
  ],
  begin: () => backend("/mfa/registration/initialize", { user_id: user, username: user }),
  ask: createCredential,
  finish: (credential) => backend("/mfa/registration/finalize", credential),
  expected: { ceremony: "mfa_registration", user },
});

const mfaLogin = () => ({
  name: "mfa-login",
  title: "Second factor used",
  hint: "Follow your browser’s dialog to use the second factor.",
  steps: [
    `The backend asks for this user’s credentials ${WITH_KEY}.`,
    "Your device signs the challenge.",
    "The backend hands on what came back; the HSM signs a token that says mfa_login.",
    VERIFY,
  ],
  begin: () => backend("/mfa/login/initialize", { user_id: user }),
  ask: getCredential,
  finish: (credential) => backend("/mfa/login/finalize", credential),
  expected: { ceremony: "mfa_login", user },
});

function payment(data) {
  const transaction = `pay-${crypto.randomUUID()}`;
  return {
    name: "pay",
    title: `Confirmed: ${data.text}`,
    hint: `Follow your browser’s dialog to confirm: ${data.text}.`,
    steps: [
      "The backend says what is to be confirmed. Its hash is a part of the challenge.",
      "Your device signs the challenge, and with it the amount and the payee.",
      "The server stores the signature beside the data, as evidence; the HSM signs a token that names the transaction.",
      VERIFY,
    ],
    begin: () => backend("/transaction/initialize", { user_id: user, transaction_id: transaction, transaction_data: data }),
    ask: getCredential,
    finish: (credential) => backend("/transaction/finalize", credential),
    expected: { ceremony: "transaction", user, transaction: { id: transaction, data } },
  };
}

/** Goes through a flow, unless one is under way, and shows what came of it. */
async function run(flow) {
  if (document.body.dataset.state === "working") return;
  stopAutofill();
  Object.assign(document.body.dataset, { state: "working", flow: flow.name });
  hideOutcome();
  enableActions();
  prepareSteps(flow.steps);
  announce(flow.hint);
  let outcome = "error";
  try {
    const options = await step("initialize", () => flow.begin());
    const credential = await step("credential", () => flow.ask(options));
    const answer = await step("finalize", () => flow.finish(credential));
    const token = decodeToken(answer.token);
    const expected = { ...flow.expected, rpId: info.rp_id, credential: credential.id };
    const checked = await step("verify", async () => checkToken(token, await call(tenantPath("/.well-known/jwks.json")), expected));
    const [state, text] = verdict(checked.checks);
    if (state === "verified") user = token.claims.sub;
    else setStep("verify", "failed");
    showToken(flow.title, token, checked);
    announce(`${flow.title}. The token: ${text}`);
    outcome = "done";
  } catch (cause) {
    showProblem(cause);
  }
  await showUser();
  document.body.dataset.state = outcome;
  enableActions();
}

// --- Who is signed in -------------------------------------------------------------------------------------------------------------

async function showUser() {
  const signedIn = user !== undefined;
  document.body.dataset.user = user ?? "";
  $("session-text").textContent = signedIn ? `Signed in as ${user}.` : "Nobody is signed in.";
  $("sign-out").hidden = !signedIn;
  for (const text of document.querySelectorAll(".needs-member")) text.hidden = signedIn;
  try {
    await showPasskeys(info, user);
  } catch (cause) {
    showProblem(cause);
  }
  await showEvents();
  offerAutofill();
}

function enableActions() {
  const busy = document.body.dataset.state === "working";
  for (const button of document.querySelectorAll("[data-action]")) button.disabled = busy || ("member" in button.dataset && user === undefined);
}

async function signOut() {
  if (document.body.dataset.state === "working") return;
  user = undefined;
  hideOutcome();
  await showUser();
  document.body.dataset.state = "ready";
  enableActions();
  announce("Signed out.");
  $("login-user").focus();
}

// --- Autofill ---------------------------------------------------------------------------------------------------------------------

let offer;

function stopAutofill() {
  clearTimeout(offer?.renewal);
  offer?.abort.abort();
  offer = undefined;
  showAutofill("off", "");
}

function showAutofill(state, text) {
  $("autofill").dataset.state = state;
  $("autofill").textContent = text;
}

/** Lets the browser offer passkeys in the field for the name (conditional mediation), for as long as nobody is signed in. */
async function offerAutofill() {
  stopAutofill();
  if (user !== undefined) return;
  const mine = { abort: new AbortController() };
  offer = mine;
  try {
    if (!(await offersAutofill())) return;
    const options = await call(tenantPath("/login/initialize"), {});
    if (offer !== mine) return;
    // The browser waits for ever, the challenge does not.
    mine.renewal = setTimeout(offerAutofill, options.publicKey.timeout * 0.9);
    showAutofill("waiting", "Your browser offers passkeys in this field.");
    const credential = await getCredential(options, { mediation: "conditional", signal: mine.abort.signal });
    if (offer === mine) await run(autofillLogin(options, credential));
  } catch (cause) {
    if (offer === mine) showAutofill("off", `No passkeys in this field: ${cause.message}.`);
  }
}

// --- The forms --------------------------------------------------------------------------------------------------------------------

/** The text of a field that must not be empty; undefined, and said so, if it is. */
function required(id, missing) {
  const text = $(id).value.trim();
  $(missing).hidden = text !== "";
  $(id).setAttribute("aria-invalid", String(text === ""));
  if (text === "") $(id).focus();
  return text === "" ? undefined : text;
}

function onSubmit(id, work) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    work();
  });
}

/** What the user is shown is what is signed. */
function paymentData() {
  const [amount, payee] = [$("amount").value.trim(), $("payee").value.trim()];
  return { text: `Pay ${amount} EUR to ${payee}`, amount, currency: "EUR", payee };
}

function listen() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
  onSubmit("register-form", () => {
    const username = required("username", "username-missing");
    $("username-help").hidden = username === undefined;
    if (username !== undefined) run(registration({ username, attestation: $("register-form").elements.attestation.value }));
  });
  onSubmit("login-form", () => {
    const name = required("login-user", "login-missing");
    if (name !== undefined) run(login(name));
  });
  $("login-any").addEventListener("click", () => run(login()));
  $("mfa-register").addEventListener("click", () => run(mfaRegistration()));
  $("mfa-login").addEventListener("click", () => run(mfaLogin()));
  const showPayment = () => { $("pay-text").textContent = paymentData().text; };
  $("pay-form").addEventListener("input", showPayment);
  showPayment();
  onSubmit("pay-form", () => { if (user !== undefined) run(payment(paymentData())); });
  $("sign-out").addEventListener("click", signOut);
  $("events-refresh").addEventListener("click", showEvents);
}

/** Says what would make every attempt fail, before one is made. Returns whether to go on. */
function fit() {
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
  prepareSteps(registration().steps);
  try {
    info = await call("/dev/info");
    showFacts(info);
    showExamples(info);
    listen();
    if (!fit()) return;
    await showUser();
    document.body.dataset.state = "ready";
    enableActions();
  } catch (cause) {
    showProblem(cause);
    document.body.dataset.state = "error";
  }
}

start();
