// Base64url, WebAuthn's JSON forms, and what the browser is asked for.

import { Problem } from "./server.js";

export function decodeBase64url(text) {
  if (!/^[A-Za-z0-9_-]*={0,2}$/.test(text)) throw new Error("not base64url");
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
}

export function encodeBase64url(buffer) {
  const binary = Array.from(new Uint8Array(buffer), (b) => String.fromCharCode(b)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

const withId = (item) => ({ ...item, id: decodeBase64url(item.id) });

/** PublicKeyCredential.parseCreationOptionsFromJSON, for browsers that lack it. */
function parseCreationOptions(json) {
  if (PublicKeyCredential.parseCreationOptionsFromJSON) return PublicKeyCredential.parseCreationOptionsFromJSON(json);
  return { ...json, challenge: decodeBase64url(json.challenge), user: withId(json.user), excludeCredentials: (json.excludeCredentials ?? []).map(withId) };
}

/** PublicKeyCredential.parseRequestOptionsFromJSON, for browsers that lack it. */
function parseRequestOptions(json) {
  if (PublicKeyCredential.parseRequestOptionsFromJSON) return PublicKeyCredential.parseRequestOptionsFromJSON(json);
  return { ...json, challenge: decodeBase64url(json.challenge), allowCredentials: (json.allowCredentials ?? []).map(withId) };
}

/** PublicKeyCredential.toJSON, for browsers that lack it, and for password managers whose toJSON throws. */
function credentialToJson(credential) {
  try {
    if (credential.toJSON) return credential.toJSON();
  } catch {
    // Made by an extension that put a plain object in place of the browser's own: convert it by hand.
  }
  const { response } = credential;
  const bytes = ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"];
  const members = bytes.filter((name) => response[name] && !(name === "authenticatorData" && response.attestationObject));
  return {
    id: credential.id,
    rawId: encodeBase64url(credential.rawId),
    type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment ?? undefined,
    clientExtensionResults: credential.getClientExtensionResults?.() ?? {},
    response: {
      ...Object.fromEntries(members.map((name) => [name, encodeBase64url(response[name])])),
      ...(response.attestationObject ? { transports: response.getTransports?.() ?? [] } : {}),
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

async function ask(failed, request) {
  try {
    return credentialToJson(await request());
  } catch (cause) {
    throw new Problem({ title: `${failed} (${cause.name})`, details: cause.message, advice: ADVICE[cause.name] ?? "" });
  }
}

/** Has the device make a credential for the contract's `{publicKey}`. */
export function createCredential({ publicKey }) {
  return ask("The browser made no passkey", () => navigator.credentials.create({ publicKey: parseCreationOptions(publicKey) }));
}

/** Has the device answer with a credential that it holds. `how` is `{mediation, signal}`. */
export function getCredential({ publicKey }, how = {}) {
  return ask("The browser gave no passkey", () => navigator.credentials.get({ publicKey: parseRequestOptions(publicKey), ...how }));
}

/** Whether passkeys can be offered in a form's field. */
export async function offersAutofill() {
  try {
    return (await PublicKeyCredential.isConditionalMediationAvailable?.()) === true;
  } catch {
    return false;
  }
}

/** Tells the device that a credential is gone from the server (WebAuthn L3 section 5.1.10), so that it stops offering it. */
export async function signalGone(rpId, credentialId) {
  try {
    await PublicKeyCredential.signalUnknownCredential?.({ rpId, credentialId });
  } catch {
    // Advice that a browser may ignore.
  }
}
