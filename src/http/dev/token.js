// Tokens: decoded, and checked against the JWKS as any application would.

import { Problem, parseJson } from "./server.js";
import { decodeBase64url, encodeBase64url } from "./webauthn.js";

const EC = ["kty", "crv", "x", "y"];
const RSA = ["kty", "n", "e"];
const pkcs1 = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
const pss = { name: "RSA-PSS", hash: "SHA-256", saltLength: 32 };
export const ALGORITHMS = {
  ES256: { text: "ECDSA on P-256 with SHA-256", members: EC, key: { name: "ECDSA", namedCurve: "P-256" }, verify: { name: "ECDSA", hash: "SHA-256" } },
  ES384: { text: "ECDSA on P-384 with SHA-384", members: EC, key: { name: "ECDSA", namedCurve: "P-384" }, verify: { name: "ECDSA", hash: "SHA-384" } },
  RS256: { text: "RSA (PKCS#1 v1.5) with SHA-256", members: RSA, key: pkcs1, verify: pkcs1 },
  PS256: { text: "RSA-PSS with SHA-256", members: RSA, key: pss, verify: pss },
  EdDSA: { text: "EdDSA on Ed25519", members: ["kty", "crv", "x"], key: { name: "Ed25519" }, verify: { name: "Ed25519" } },
};

/** The parts of a token, nothing of it checked yet. */
export function decodeToken(token) {
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

const judge = (good, pass, fail) => (good ? ["pass", pass] : ["fail", fail]);

/** SHA-256 of a transaction's data as the server hashes it: an object of strings as Go's encoding/json writes it, its names sorted. */
async function hashOfData(data) {
  const sorted = JSON.stringify(data, Object.keys(data).sort());
  const text = sorted.replace(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return encodeBase64url(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}

/**
 * Every check as `{name: [state, text]}`, and the key used. `expected` is what the page knows of the ceremony: `rpId`, `credential` (its id),
 * `ceremony`, and where they were given, `user` and `transaction` (its id and data).
 */
export async function checkToken(token, jwks, expected) {
  const { header, claims } = token;
  const { jwk, fault } = findKey(jwks, header);
  const audience = [claims.aud].flat();
  const now = Date.now() / 1000;
  const checks = {
    signature: fault ? ["fail", "Signature: not checked, there is no key to check it with"] : await checkSignature(token, jwk),
    key: judge(!fault, "Key: the token’s kid is in the JWKS, for the same algorithm", `Key: ${fault}`),
    audience: judge(audience.includes(expected.rpId), `Audience: ${expected.rpId}`, `Audience: ${audience.join(", ")} is not ${expected.rpId}`),
    expiry: judge(now < claims.exp, "Expiry: still good", "Expiry: the token has expired"),
    issued: judge(claims.iat <= now + 60, "Issued: not in the future", "Issued: in the future by this device’s clock"),
    credential: judge(claims.cred === expected.credential, "Passkey: the one just used", "Passkey: not the one just used"),
    // Without this, a token of a registration would sign in.
    ceremony: judge(claims.ceremony === expected.ceremony, `Ceremony: ${expected.ceremony}`, `Ceremony: ${claims.ceremony} is not ${expected.ceremony}`),
  };
  if (expected.user !== undefined) {
    checks.user = judge(claims.sub === expected.user, "User: the one who was asked", `User: ${claims.sub} is not ${expected.user}`);
  }
  if (expected.transaction !== undefined) {
    const { id, data } = expected.transaction;
    checks.transaction = judge(claims.trans === id, "Transaction: the one just begun", "Transaction: not the one just begun");
    // What PSD2 calls dynamic linking: the token vouches for this amount and this payee.
    checks.data = judge(claims.trans_hash === (await hashOfData(data)), "Data: what was shown here", "Data: not what was shown here");
  }
  return { checks, jwk };
}

/** `[state, text]` of the whole. */
export function verdict(checks) {
  const failed = Object.values(checks).filter(([state]) => state === "fail").map(([, text]) => text);
  if (checks.signature[0] === "unknown") return ["unverifiable", `Not verified. ${checks.signature[1]}.`];
  if (failed.length > 0) return ["refused", `Not verified. ${failed.join(". ")}.`];
  return ["verified", "Verified against the JWKS in this browser"];
}
