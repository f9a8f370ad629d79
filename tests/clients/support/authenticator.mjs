// A software authenticator and the browser around it: ES256, no attestation, discoverable credentials with a user handle.
// What it answers is RegistrationResponseJSON and AuthenticationResponseJSON (WebAuthn L3 sections 5.1.8, 5.1.9), as a page would post it.

import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

// Authenticator data's flags (WebAuthn L3 section 6.1).
const UP = 0x01;
const UV = 0x04;
const AT = 0x40;

export class Authenticator {
  #credentials = [];

  /** Ceremonies take place on pages of `origin`. */
  constructor(origin) {
    this.origin = origin;
  }

  /** navigator.credentials.create: `options` is what initialize returned, `{publicKey}`. */
  create({ publicKey }) {
    if (!publicKey.pubKeyCredParams.some(({ alg }) => alg === -7)) throw new Error('ES256 was not asked for');
    const id = randomBytes(32);
    const { privateKey, publicKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const credential = { id, rpId: publicKey.rp.id, userHandle: publicKey.user.id, privateKey, count: 0 };
    this.#credentials.push(credential);
    const attested = Buffer.concat([Buffer.alloc(16), Buffer.from([0, id.length]), id, coseKey(key)]);
    const authData = authenticatorData(credential, UP | UV | AT, attested);
    const attestationObject = cborMap([['fmt', cborText('none')], ['attStmt', Buffer.of(0xa0)], ['authData', cborBytes(authData)]]);
    return this.#answer(credential, {
      clientDataJSON: b64(this.#clientData('webauthn.create', publicKey.challenge)),
      attestationObject: b64(attestationObject),
      transports: ['internal'],
    });
  }

  /** navigator.credentials.get: with one of `allowCredentials`, or with a discoverable one of the relying party. */
  get({ publicKey }) {
    const allowed = publicKey.allowCredentials?.map(({ id }) => id);
    const credential = this.#credentials.findLast(({ id, rpId }) => rpId === publicKey.rpId && (!allowed || allowed.includes(b64(id))));
    if (!credential) throw new Error('NotAllowedError: no such credential here');
    credential.count += 1;
    const authData = authenticatorData(credential, UP | UV);
    const clientData = this.#clientData('webauthn.get', publicKey.challenge);
    const signature = sign('sha256', Buffer.concat([authData, sha256(clientData)]), credential.privateKey);
    return this.#answer(credential, {
      clientDataJSON: b64(clientData),
      authenticatorData: b64(authData),
      signature: b64(signature),
      userHandle: credential.userHandle,
    });
  }

  #clientData(type, challenge) {
    return Buffer.from(JSON.stringify({ type, challenge, origin: this.origin, crossOrigin: false }));
  }

  #answer({ id }, response) {
    return { id: b64(id), rawId: b64(id), type: 'public-key', authenticatorAttachment: 'platform', response, clientExtensionResults: {} };
  }
}

function authenticatorData({ rpId, count }, flags, attested = Buffer.alloc(0)) {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(count, 1);
  return Buffer.concat([sha256(rpId), head, attested]);
}

/** COSE_Key of a P-256 key in canonical order (RFC 9052 section 7, RFC 9053 section 7.1.1). */
function coseKey(key) {
  const { x, y } = key.export({ format: 'jwk' });
  const head = Buffer.from([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01]);
  return Buffer.concat([head, Buffer.of(0x21), cborBytes(Buffer.from(x, 'base64url')), Buffer.of(0x22), cborBytes(Buffer.from(y, 'base64url'))]);
}

// As much CBOR (RFC 8949) as a statement of format `none` takes.
const cborHead = (major, n) =>
  n < 24 ? Buffer.of((major << 5) | n) : n < 256 ? Buffer.of((major << 5) | 24, n) : Buffer.of((major << 5) | 25, n >> 8, n & 0xff);
const cborBytes = (bytes) => Buffer.concat([cborHead(2, bytes.length), bytes]);
const cborText = (text) => Buffer.concat([cborHead(3, Buffer.byteLength(text)), Buffer.from(text)]);
const cborMap = (entries) => Buffer.concat([cborHead(5, entries.length), ...entries.flatMap(([name, value]) => [cborText(name), value])]);

const sha256 = (data) => createHash('sha256').update(data).digest();
const b64 = (bytes) => bytes.toString('base64url');
