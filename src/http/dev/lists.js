// The user's passkeys, to rename and delete, and the tenant's audit log.

import { backend } from "./server.js";
import { $, announce, element, showProblem } from "./view.js";
import { signalGone } from "./webauthn.js";

const when = (instant) => new Date(instant).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

/** A line of small facts, those that there are. */
const facts = (...texts) => element("p", { className: "help", textContent: texts.filter(Boolean).join(" · ") });

// --- Passkeys ---------------------------------------------------------------------------------------------------------------------

/** Shows the passkeys and second factors of `user`. */
export async function showPasskeys(info, user) {
  $("passkeys").hidden = user === undefined;
  if (user === undefined) return;
  $("passkeys-title").textContent = `Passkeys of ${user}`;
  const credentials = await backend(`/credentials?per_page=100&user_id=${encodeURIComponent(user)}`);
  $("passkey-list").replaceChildren(...credentials.map((credential) => row(info, user, credential)));
  $("passkeys-none").hidden = credentials.length > 0;
}

function row(info, user, credential) {
  const name = credential.name ?? credential.id;
  const title = element("p", { className: "item-title" }, element("strong", { textContent: name }));
  title.append(element("span", { className: "badge", textContent: credential.is_mfa ? "second factor" : "passkey" }));
  const used = credential.last_used_at ? `last used ${when(credential.last_used_at)}` : "never used";
  const synced = credential.backup_eligible ? (credential.backup_state ? "synced" : "may be synced") : "stays on its device";
  const about = facts(`made ${when(credential.created_at)}`, used, synced, credential.attestation_type, credential.transports.join(", "));
  const rename = element("button", { type: "button", className: "copy", textContent: "Rename", ariaLabel: `Rename ${name}` });
  const remove = element("button", { type: "button", className: "copy danger", textContent: "Delete", ariaLabel: `Delete ${name}` });
  const item = element("li", {}, element("div", {}, title, about), element("div", { className: "item-buttons" }, rename, remove));
  item.dataset.credential = credential.id;
  item.dataset.kind = credential.is_mfa ? "mfa" : "passkey";
  const path = `/credentials/${credential.id}`;
  const act = (done, work) => change(info, user, done, work);
  rename.addEventListener("click", () => edit(item, name, (text) => act(`Renamed to ${text}.`, () => backend(path, { name: text }, "PATCH"))));
  remove.addEventListener("click", () => confirmTwice(remove, () => act(`${name} is deleted.`, async () => {
    await backend(path, undefined, "DELETE");
    await signalGone(info.rp_id, credential.id);
  })));
  return item;
}

/** Puts a form in the place of the row's buttons. */
function edit(item, name, save) {
  const input = element("input", { type: "text", value: name, maxLength: 255, ariaLabel: "New name" });
  const submit = element("button", { type: "submit", className: "copy", textContent: "Save" });
  const cancel = element("button", { type: "button", className: "copy", textContent: "Cancel" });
  const form = element("form", { className: "rename" }, input, submit, cancel);
  const buttons = item.querySelector(".item-buttons");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save(input.value.trim());
  });
  cancel.addEventListener("click", () => {
    form.replaceWith(buttons);
    buttons.querySelector("button").focus();
  });
  buttons.replaceWith(form);
  input.select();
}

/** A second press within five seconds does it. */
function confirmTwice(button, work) {
  if (button.dataset.armed) {
    work();
    return;
  }
  button.dataset.armed = "true";
  button.textContent = "Delete for good?";
  announce("Press again to delete it for good.");
  setTimeout(() => {
    delete button.dataset.armed;
    button.textContent = "Delete";
  }, 5000);
}

async function change(info, user, done, work) {
  $("error").hidden = true;
  try {
    await work();
    announce(done);
    await showPasskeys(info, user);
    // What had the focus is gone.
    $("passkeys-title").tabIndex = -1;
    $("passkeys-title").focus();
  } catch (cause) {
    showProblem(cause);
  }
  await showEvents();
}

// --- The audit log ----------------------------------------------------------------------------------------------------------------

/** Shows the tenant's last events. What goes wrong here is said here, and is no problem of a ceremony's. */
export async function showEvents() {
  try {
    const events = await backend("/audit_logs?per_page=30");
    $("events").replaceChildren(...events.map(entry));
  } catch (cause) {
    $("events").replaceChildren(element("li", { textContent: `${cause.message}. ${cause.details ?? ""}` }));
  }
}

function entry(event) {
  const time = element("time", { dateTime: event.created_at, textContent: new Date(event.created_at).toLocaleTimeString() });
  const title = element("p", { className: "item-title" }, element("code", { textContent: event.type }), time);
  const about = facts(
    event.actor_user_id && `user ${event.actor_user_id}`,
    event.transaction_id && `transaction ${event.transaction_id}`,
    event.credential_id && `passkey ${event.credential_id.slice(0, 12)}…`,
    event.meta_source_ip && `from ${event.meta_source_ip}`,
  );
  const item = element("li", {}, title, about);
  if (event.error) item.append(element("p", { className: "reason", textContent: event.error }));
  item.dataset.event = event.type;
  return item;
}
