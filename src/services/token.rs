//! Tokens: made here, signed in the HSM, verified by anyone from the tenant's JWKS.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, Header,
    jwk::{
        AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters, EllipticCurveKeyType, Jwk, JwkSet, KeyAlgorithm,
        OctetKeyPairParameters, OctetKeyPairType, PublicKeyUse, RSAKeyParameters, RSAKeyType,
    },
};
use openssl::{
    bn::{BigNum, BigNumContext},
    pkey::{Id, PKey, Public},
    sha::sha256,
};
use serde::Serialize;

use super::{Context, Error};
use crate::{
    domain::{
        AuditEventId, BackupFlags, CredentialId, Operation, SigningAlgorithm, SigningKey, Tenant, TenantId, Timestamp, TransactionData,
        TransactionId, UserId,
    },
    hsm::{Permit, SignRequest},
};

/// A signed JWT in compact form (RFC 7515 section 3.1).
#[derive(Clone, PartialEq, Eq)]
pub struct JwtToken(String);

impl JwtToken {
    /// The token, for the one who earned it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Not printed: it signs somebody in.
impl fmt::Debug for JwtToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JwtToken(..)")
    }
}

/// What a token says. The first five claims are the contract's, the rest are additions that its clients ignore.
#[derive(Debug, Serialize)]
pub(super) struct Claims<'a> {
    /// The relying party's id, in an array of one.
    aud: [&'a str; 1],
    /// The credential, in base64url.
    cred: String,
    /// `iat` and as long as the tenant lets tokens live: five minutes by default.
    exp: i64,
    iat: i64,
    /// The application's name for the user.
    sub: &'a str,
    /// The tenant's public URL, or what the tenant chose. `{iss}/.well-known/jwks.json` has the keys.
    iss: String,
    /// Also the id of the audit event that tells of it.
    jti: String,
    /// Tells a registration's token from a login's, a second factor's or a transaction's.
    ceremony: &'static str,
    /// How it was proven who that is (RFC 8176). `hwk`: by a key of which an attestation has shown what hardware keeps it; else `pop`, by
    /// some key. And `user`: somebody was there.
    amr: [&'static str; 2],
    /// When that was proven, in whole seconds (OpenID Connect Core section 2).
    auth_time: i64,
    /// The user was verified: by PIN, fingerprint or the like (WebAuthn L3 section 6.1, UV).
    uv: bool,
    /// The credential may be synced between devices (BE).
    be: bool,
    /// It is synced (BS).
    bs: bool,
    /// The application's name for the transaction that was confirmed: the contract's.
    #[serde(skip_serializing_if = "Option::is_none")]
    trans: Option<&'a str>,
    /// SHA-256 of the transaction's data as they are stored and listed, in base64url: what was confirmed, for whoever has only the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    trans_hash: Option<String>,
}

/// The facts a token is made of.
#[derive(Debug)]
pub(super) struct TokenFacts<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) user: &'a UserId,
    pub(super) credential: &'a CredentialId,
    pub(super) operation: Operation,
    pub(super) event: AuditEventId,
    pub(super) proof: Proof,
    pub(super) transaction: Option<(&'a TransactionId, &'a TransactionData)>,
}

/// What the authenticator proved, besides that somebody was there: no ceremony succeeds without.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proof {
    /// When it was verified.
    pub(super) at: Timestamp,
    /// Its attestation has a trust path.
    pub(super) is_hardware: bool,
    pub(super) user_verified: bool,
    pub(super) backup: BackupFlags,
}

/// A tenant's public keys as served (RFC 7517 section 5).
#[derive(Debug, Clone)]
pub struct PublishedKeys {
    /// The JWK set.
    pub body: String,
    /// Its entity tag, quotes included (RFC 9110 section 8.8.3); changes when a key comes or goes.
    pub etag: String,
    /// Whether there is none: a tenant that waits for its first key, or whose only one was distrusted.
    pub is_empty: bool,
}

/// Makes tokens and publishes the keys that verify them.
#[derive(Clone, Debug)]
pub struct Tokens {
    context: Context,
}

impl Tokens {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    /// A token that states `facts`, signed by `key` inside the HSM and verified with the stored public key before it is returned.
    pub(super) async fn issue(&self, permit: Permit, key: &SigningKey, facts: &TokenFacts<'_>) -> Result<JwtToken, Error> {
        let (Some(public_key), Some(cka_id)) = (&key.public_key, &key.cka_id) else {
            return Err(Error::Internal(format!("signing key {} is active but was never completed", key.id), None));
        };
        let mut token = signing_input(key, &self.claims(facts))?;
        let request = SignRequest { kid: key.id, cka_id, algorithm: key.algorithm, public_key, signing_input: &token };
        let signature = permit.sign(request).await?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(JwtToken(token))
    }

    /// The tenant's JWKS: its published, active, suspended and retiring keys.
    pub async fn published_keys(&self, tenant: TenantId) -> Result<PublishedKeys, Error> {
        let keys = self.context.store.published_signing_keys(tenant).await?;
        let body = jwks_of(&keys)?;
        let digest = sha256(body.as_bytes());
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..16]));
        Ok(PublishedKeys { body, etag, is_empty: keys.is_empty() })
    }

    fn claims<'a>(&self, facts: &TokenFacts<'a>) -> Claims<'a> {
        let tenant = facts.tenant;
        let (iat, proof) = (self.context.clock.now().as_secs(), facts.proof);
        let own_url = || format!("{}/{}", self.context.public_url.as_str().trim_end_matches('/'), tenant.id);
        Claims {
            aud: [&tenant.config.webauthn.relying_party.id],
            cred: facts.credential.to_string(),
            exp: iat + tenant.settings.keys.token_lifetime().as_secs().cast_signed(),
            iat,
            sub: facts.user.as_str(),
            iss: tenant.settings.issuer.clone().unwrap_or_else(own_url),
            jti: facts.event.to_string(),
            ceremony: facts.operation.as_str(),
            amr: [if proof.is_hardware { "hwk" } else { "pop" }, "user"],
            auth_time: proof.at.as_secs(),
            uv: proof.user_verified,
            be: proof.backup.eligible,
            bs: proof.backup.state,
            trans: facts.transaction.map(|(id, _)| id.as_str()),
            trans_hash: facts.transaction.map(|(_, data)| URL_SAFE_NO_PAD.encode(sha256(data.as_str().as_bytes()))),
        }
    }
}

/// `BASE64URL(header) . BASE64URL(claims)` (RFC 7515 section 5.1).
fn signing_input(key: &SigningKey, claims: &Claims<'_>) -> Result<String, Error> {
    let mut header = Header::new(jose_algorithm(key.algorithm));
    header.kid = Some(key.id.to_string());
    let mut input = String::with_capacity(512);
    URL_SAFE_NO_PAD.encode_string(to_json(&header)?, &mut input);
    input.push('.');
    URL_SAFE_NO_PAD.encode_string(to_json(claims)?, &mut input);
    Ok(input)
}

fn to_json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|e| Error::Internal("a value of ours has no JSON form".to_owned(), Some(e.into())))
}

const fn jose_algorithm(algorithm: SigningAlgorithm) -> Algorithm {
    match algorithm {
        SigningAlgorithm::Es256 => Algorithm::ES256,
        SigningAlgorithm::Es384 => Algorithm::ES384,
        SigningAlgorithm::Rs256 => Algorithm::RS256,
        SigningAlgorithm::Ps256 => Algorithm::PS256,
        SigningAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

const fn jwk_algorithm(algorithm: SigningAlgorithm) -> KeyAlgorithm {
    match algorithm {
        SigningAlgorithm::Es256 => KeyAlgorithm::ES256,
        SigningAlgorithm::Es384 => KeyAlgorithm::ES384,
        SigningAlgorithm::Rs256 => KeyAlgorithm::RS256,
        SigningAlgorithm::Ps256 => KeyAlgorithm::PS256,
        SigningAlgorithm::EdDsa => KeyAlgorithm::EdDSA,
    }
}

/// A JWK set (RFC 7517 section 5) of these keys, in their order.
pub(super) fn jwks_of(keys: &[SigningKey]) -> Result<String, Error> {
    to_json(&JwkSet { keys: keys.iter().map(jwk).collect::<Result<Vec<_>, _>>()? })
}

/// The public half of `key` as a JWK (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2).
fn jwk(key: &SigningKey) -> Result<Jwk, Error> {
    let unusable = |e: openssl::error::ErrorStack| Error::Internal(format!("the public key of {} cannot be read", key.id), Some(e.into()));
    let der = key.public_key.as_deref().unwrap_or_default();
    let public = PKey::public_key_from_der(der).map_err(unusable)?;
    let common = CommonParameters {
        public_key_use: Some(PublicKeyUse::Signature),
        key_algorithm: Some(jwk_algorithm(key.algorithm)),
        key_id: Some(key.id.to_string()),
        ..CommonParameters::default()
    };
    Ok(Jwk { common, algorithm: parameters(&public).map_err(unusable)? })
}

fn parameters(public: &PKey<Public>) -> Result<AlgorithmParameters, openssl::error::ErrorStack> {
    let b64 = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
    match public.id() {
        Id::EC => {
            let ec = public.ec_key()?;
            let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
            ec.public_key().affine_coordinates(ec.group(), &mut x, &mut y, &mut *BigNumContext::new()?)?;
            let (curve, width) = if ec.group().degree() == 384 { (EllipticCurve::P384, 48) } else { (EllipticCurve::P256, 32) };
            // Full width: RFC 7518 section 6.2.1.2 keeps the leading zeros.
            let (x, y) = (b64(x.to_vec_padded(width)?), b64(y.to_vec_padded(width)?));
            Ok(AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters { key_type: EllipticCurveKeyType::EC, curve, x, y }))
        }
        Id::RSA => {
            let rsa = public.rsa()?;
            let (n, e) = (b64(rsa.n().to_vec()), b64(rsa.e().to_vec()));
            Ok(AlgorithmParameters::RSA(RSAKeyParameters { key_type: RSAKeyType::RSA, n, e }))
        }
        _ => {
            let x = b64(public.raw_public_key()?);
            let curve = EllipticCurve::Ed25519;
            Ok(AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters { key_type: OctetKeyPairType::OctetKeyPair, curve, x }))
        }
    }
}
