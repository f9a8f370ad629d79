//! The structures in a statement, as the TPM made them (TPM 2.0 Library, Part 2: Structures): numbers are big-endian, a TPM2B is two bytes of
//! length and as many bytes. Each is read to its last byte.

use openssl::sha::{sha1, sha256, sha384, sha512};

use super::TpmError;
use crate::webauthn::key::Curve;

/// TPM_ALG_ID (section 6.3).
pub(super) const RSA: u16 = 0x0001;
pub(super) const ECC: u16 = 0x0023;
pub(super) const NULL: u16 = 0x0010;
pub(super) const RSASSA: u16 = 0x0014;
pub(super) const RSAPSS: u16 = 0x0016;
pub(super) const ECDSA: u16 = 0x0018;
const RSAES: u16 = 0x0015;
const ECDAA: u16 = 0x001a;

/// TPM_GENERATED_VALUE (section 6.2): what a TPM begins its own statements with, and signs in no data of others.
const GENERATED: u32 = 0xff54_4347;

/// TPM_ST_ATTEST_CERTIFY (section 6.9).
const ATTEST_CERTIFY: u16 = 0x8017;

/// The most bytes of a digest, and of a TPMT_HA and a Name, which are a digest and its algorithm.
const MAX_DIGEST: usize = 64;
const MAX_NAME: usize = 2 + MAX_DIGEST;

/// The most bytes of a modulus, as of a credential's key.
const MAX_MODULUS: usize = 1024;

/// The most bytes of a coordinate: P-521's.
const MAX_COORDINATE: usize = 66;

/// The exponent that a TPM writes as 0 (section 12.2.3.5).
const DEFAULT_EXPONENT: u32 = 65537;

/// A hash that names and signatures may be made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// Its TPM_ALG_ID.
    pub(super) const fn id(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
            Self::Sha512 => 0x000d,
        }
    }

    fn from_id(id: u16) -> Option<Self> {
        [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512].into_iter().find(|hash| hash.id() == id)
    }

    /// The digest of these bytes.
    pub(super) fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => sha1(bytes).to_vec(),
            Self::Sha256 => sha256(bytes).to_vec(),
            Self::Sha384 => sha384(bytes).to_vec(),
            Self::Sha512 => sha512(bytes).to_vec(),
        }
    }
}

/// What a person calls an algorithm that is refused.
pub(super) const fn algorithm_name(id: u16) -> &'static str {
    match id {
        0x0003 => "TDES",
        0x0006 => "AES",
        0x0008 => "KEYEDHASH",
        0x000a => "XOR",
        NULL => "NULL",
        0x0012 => "SM3-256",
        0x0025 => "SYMCIPHER",
        0x0027 => "SHA3-256",
        0x0028 => "SHA3-384",
        0x0029 => "SHA3-512",
        _ => "algorithm",
    }
}

/// A way to sign or encrypt, and its hash; both as TPM_ALG_ID, the hash NULL where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scheme {
    pub(super) algorithm: u16,
    pub(super) hash: u16,
}

/// A public key's numbers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key<'a> {
    Rsa { bits: u16, exponent: u32, modulus: &'a [u8] },
    Ecc { curve: Curve, x: &'a [u8], y: &'a [u8] },
}

/// TPMT_PUBLIC (section 12.2.4): a key and what may be done with it.
#[derive(Debug)]
pub(super) struct PublicArea<'a> {
    bytes: &'a [u8],
    /// nameAlg.
    pub(super) name_hash: Hash,
    /// The one way in which the key is used, if its maker fixed one.
    pub(super) scheme: Option<Scheme>,
    pub(super) key: Key<'a>,
}

impl<'a> PublicArea<'a> {
    /// All of `bytes`.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, TpmError> {
        let mut reader = Reader::new("pubArea", bytes);
        let kind = reader.u16()?;
        if !matches!(kind, RSA | ECC) {
            return Err(TpmError::Unsupported("type", kind));
        }
        let name_alg = reader.u16()?;
        let name_hash = Hash::from_id(name_alg).ok_or(TpmError::Unsupported("nameAlg", name_alg))?;
        // objectAttributes: the standard demands none, and its own example's key has no fixedTPM.
        reader.u32()?;
        reader.sized("authPolicy", MAX_DIGEST)?;
        reader.symmetric()?;
        let (scheme, key) = if kind == RSA { reader.rsa()? } else { reader.ecc()? };
        reader.end()?;
        Ok(Self { bytes, name_hash, scheme, key })
    }

    /// Its Name (Part 1 section 16): nameAlg, and the digest by it.
    pub(super) fn name(&self) -> Vec<u8> {
        [&self.name_hash.id().to_be_bytes()[..], &self.name_hash.digest(self.bytes)].concat()
    }
}

/// TPMS_ATTEST (section 10.12.8) with a TPMS_CERTIFY_INFO (section 10.12.3): that an object is on the TPM.
#[derive(Debug)]
pub(super) struct CertInfo<'a> {
    /// extraData: what whoever asked for the signature gave to it.
    pub(super) extra_data: &'a [u8],
    /// The object's Name.
    pub(super) name: &'a [u8],
}

impl<'a> CertInfo<'a> {
    /// All of `bytes`.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, TpmError> {
        let mut reader = Reader::new("certInfo", bytes);
        if reader.u32()? != GENERATED {
            return Err(TpmError::Magic);
        }
        if reader.u16()? != ATTEST_CERTIFY {
            return Err(TpmError::Type);
        }
        // qualifiedSigner, clockInfo and firmwareVersion may be obfuscated: what they say is not judged.
        reader.sized("qualifiedSigner", MAX_NAME)?;
        let extra_data = reader.sized("extraData", MAX_NAME)?;
        reader.take(8 + 4 + 4 + 1)?; // clockInfo: clock, resetCount, restartCount, safe
        reader.take(8)?; // firmwareVersion
        let name = reader.sized("name", MAX_NAME)?;
        reader.sized("qualifiedName", MAX_NAME)?;
        reader.end()?;
        Ok(Self { extra_data, name })
    }
}

/// TPMT_SIGNATURE (section 11.3.4) of the kinds that COSE knows.
#[derive(Debug)]
pub(super) enum Signature<'a> {
    /// Its scheme, and the signature.
    Rsa(Scheme, &'a [u8]),
    /// Its scheme, r and s.
    Ecdsa(Scheme, &'a [u8], &'a [u8]),
}

impl<'a> Signature<'a> {
    /// All of `bytes`.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, TpmError> {
        let mut reader = Reader::new("sig", bytes);
        let scheme = Scheme { algorithm: reader.u16()?, hash: reader.u16()? };
        let signature = match scheme.algorithm {
            RSASSA | RSAPSS => Self::Rsa(scheme, reader.sized("signature", MAX_MODULUS)?),
            ECDSA => Self::Ecdsa(scheme, reader.sized("r", MAX_COORDINATE)?, reader.sized("s", MAX_COORDINATE)?),
            other => return Err(TpmError::Unsupported("sigAlg", other)),
        };
        reader.end()?;
        Ok(signature)
    }

    /// What it was made with.
    pub(super) const fn scheme(&self) -> Scheme {
        match self {
            Self::Rsa(scheme, _) | Self::Ecdsa(scheme, ..) => *scheme,
        }
    }
}

/// Reads a structure from the front.
struct Reader<'a> {
    /// Its name in the statement.
    structure: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    const fn new(structure: &'static str, bytes: &'a [u8]) -> Self {
        Self { structure, rest: bytes }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], TpmError> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(TpmError::Truncated(self.structure))?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TpmError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(TpmError::Truncated(self.structure))?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn u16(&mut self) -> Result<u16, TpmError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, TpmError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A TPM2B.
    fn sized(&mut self, field: &'static str, most: usize) -> Result<&'a [u8], TpmError> {
        let length = usize::from(self.u16()?);
        if length > most { Err(TpmError::TooLong(self.structure, field)) } else { self.take(length) }
    }

    /// TPMT_SYM_DEF_OBJECT (section 11.1.7): with a block cipher come its keyBits and its mode.
    fn symmetric(&mut self) -> Result<(), TpmError> {
        match self.u16()? {
            NULL => Ok(()),
            // TDES, AES, SM4, Camellia
            0x0003 | 0x0006 | 0x0013 | 0x0026 => self.take(2 + 2).map(drop),
            other => Err(TpmError::Unsupported("symmetric", other)),
        }
    }

    /// TPMT_RSA_SCHEME, TPMT_ECC_SCHEME (sections 11.2.4.2 and 11.2.5.6) and TPMT_KDF_SCHEME (section 11.2.3.3): one of the selectors
    /// `with_hash`, which its hash follows, or NULL.
    fn scheme(&mut self, field: &'static str, with_hash: &[u16]) -> Result<Option<Scheme>, TpmError> {
        match self.u16()? {
            NULL => Ok(None),
            algorithm if with_hash.contains(&algorithm) => {
                let hash = self.u16()?;
                if algorithm == ECDAA {
                    self.u16()?; // count
                }
                Ok(Some(Scheme { algorithm, hash }))
            }
            other => Err(TpmError::Unsupported(field, other)),
        }
    }

    /// TPMS_RSA_PARMS after symmetric (section 12.2.3.5), and TPM2B_PUBLIC_KEY_RSA.
    fn rsa(&mut self) -> Result<(Option<Scheme>, Key<'a>), TpmError> {
        // RSASSA, RSAPSS, OAEP; RSAES has no hash.
        let scheme = if self.rest.starts_with(&RSAES.to_be_bytes()) {
            Some(Scheme { algorithm: self.u16()?, hash: NULL })
        } else {
            self.scheme("scheme", &[RSASSA, RSAPSS, 0x0017])?
        };
        let bits = self.u16()?;
        let exponent = match self.u32()? {
            0 => DEFAULT_EXPONENT,
            other => other,
        };
        Ok((scheme, Key::Rsa { bits, exponent, modulus: self.sized("unique", MAX_MODULUS)? }))
    }

    /// TPMS_ECC_PARMS after symmetric (section 12.2.3.6), and TPMS_ECC_POINT. A coordinate may lack the zeros before it.
    fn ecc(&mut self) -> Result<(Option<Scheme>, Key<'a>), TpmError> {
        // ECDSA, ECDH, ECDAA, SM2, ECSCHNORR, ECMQV
        let scheme = self.scheme("scheme", &[ECDSA, 0x0019, ECDAA, 0x001b, 0x001c, 0x001d])?;
        // TPM_ECC_CURVE (section 6.4)
        let curve = match self.u16()? {
            0x0003 => Curve::P256,
            0x0004 => Curve::P384,
            0x0005 => Curve::P521,
            other => return Err(TpmError::Curve(other)),
        };
        // MGF1, KDF1_SP800_56A, KDF2, KDF1_SP800_108
        self.scheme("kdf", &[0x0007, 0x0020, 0x0021, 0x0022])?;
        Ok((scheme, Key::Ecc { curve, x: self.sized("unique", curve.len())?, y: self.sized("unique", curve.len())? }))
    }

    fn end(self) -> Result<(), TpmError> {
        if self.rest.is_empty() { Ok(()) } else { Err(TpmError::Trailing(self.structure)) }
    }
}
