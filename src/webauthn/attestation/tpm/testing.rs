//! A TPM for unit tests: certifies a credential's key, in structures each part of which a test can spoil.

use openssl::{
    ecdsa::EcdsaSig,
    pkey::{PKey, Private},
};

use super::structures::{self, Hash};
use crate::webauthn::{
    CoseAlgorithm,
    cbor::Value,
    testing::{CertificateSpec, KeyPair, Maker, Statement, sign},
};

/// Something done to bytes.
pub(super) type Change = Box<dyn Fn(&mut Vec<u8>)>;

/// A TPM and what it does.
pub(super) struct Tpm {
    /// `alg`; the key is one for it.
    pub(super) algorithm: CoseAlgorithm,
    pub(super) aik: PKey<Private>,
    pub(super) certificate: CertificateSpec<'static>,
    pub(super) area: Area,
    pub(super) info: Info,
    /// sigAlg and hash with which `sig` is a TPMT_SIGNATURE; else it is the bare signature.
    pub(super) structured: Option<(u16, u16)>,
    /// Done to pubArea after it was certified, to certInfo after it was signed, and to `sig`.
    pub(super) spoil_area: Change,
    pub(super) spoil_info: Change,
    pub(super) spoil_signature: Change,
}

/// What pubArea says beside the key's numbers. Parts that are `None` are as they should be.
pub(super) struct Area {
    pub(super) kind: Option<u16>,
    pub(super) name_alg: u16,
    pub(super) attributes: u32,
    pub(super) policy: Vec<u8>,
    pub(super) symmetric: Vec<u16>,
    pub(super) scheme: Vec<u16>,
    /// The exponent, or the curve's id.
    pub(super) exponent_or_curve: Option<u32>,
    pub(super) bits: Option<u16>,
    pub(super) kdf: Vec<u16>,
    /// The modulus, or the coordinates.
    pub(super) unique: Option<Vec<Vec<u8>>>,
    pub(super) tail: Vec<u8>,
}

/// What certInfo says. Parts that are `None` are as they should be.
pub(super) struct Info {
    pub(super) magic: u32,
    pub(super) kind: u16,
    pub(super) signer: Vec<u8>,
    pub(super) extra_data: Option<Vec<u8>>,
    pub(super) clock_and_firmware: [u8; 25],
    pub(super) name: Option<Vec<u8>>,
    pub(super) qualified_name: Vec<u8>,
    pub(super) tail: Vec<u8>,
    /// Done before it is signed.
    pub(super) change: Change,
}

fn nothing() -> Change {
    Box::new(|_| ())
}

impl Tpm {
    /// An honest one with a key for this algorithm.
    pub(super) fn new(algorithm: CoseAlgorithm) -> Self {
        Self {
            algorithm,
            aik: KeyPair::generate(algorithm).private,
            certificate: aik_certificate(),
            area: Area::default(),
            info: Info::default(),
            structured: None,
            spoil_area: nothing(),
            spoil_info: nothing(),
            spoil_signature: nothing(),
        }
    }

    /// A registration of a key of this algorithm.
    pub(super) fn attests(self, credential: CoseAlgorithm) -> Maker {
        let certificate = self.certificate.make(&self.aik, None).to_der().unwrap();
        let make = Box::new(move |key: &KeyPair, signed: &[u8]| self.members(key, signed, &certificate));
        Maker { algorithm: credential, algorithms: vec![credential], ..Maker::attested(Statement::Made("tpm", make)) }
    }

    fn members(&self, key: &KeyPair, signed: &[u8], certificate: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let mut area = self.area.bytes(&key.cose);
        let mut info = self.info.bytes(&area, self.area.name_alg, &hash(self.algorithm).digest(signed));
        let mut signature = self.structure(sign(self.algorithm, &self.aik, &info));
        (self.spoil_area)(&mut area);
        (self.spoil_info)(&mut info);
        (self.spoil_signature)(&mut signature);
        vec![
            ("ver", Value::Text("2.0").to_vec()),
            ("alg", Value::from(self.algorithm.id()).to_vec()),
            ("x5c", Value::Array(vec![Value::Bytes(certificate)]).to_vec()),
            ("sig", Value::Bytes(&signature).to_vec()),
            ("certInfo", Value::Bytes(&info).to_vec()),
            ("pubArea", Value::Bytes(&area).to_vec()),
        ]
    }

    fn structure(&self, bare: Vec<u8>) -> Vec<u8> {
        let Some((algorithm, hash)) = self.structured else { return bare };
        let head = [algorithm.to_be_bytes(), hash.to_be_bytes()].concat();
        match EcdsaSig::from_der(&bare) {
            Ok(numbers) => [head, sized(&numbers.r().to_vec()), sized(&numbers.s().to_vec())].concat(),
            Err(_) => [head, sized(&bare)].concat(),
        }
    }
}

fn hash(algorithm: CoseAlgorithm) -> Hash {
    super::hash_and_scheme(algorithm).map_or(Hash::Sha256, |(hash, _)| hash)
}

impl Default for Area {
    fn default() -> Self {
        Self {
            kind: None,
            name_alg: 0x000b,
            attributes: 0x0006_0472,
            policy: vec![7; 32],
            symmetric: vec![structures::NULL],
            scheme: vec![structures::NULL],
            exponent_or_curve: None,
            bits: None,
            kdf: vec![structures::NULL],
            unique: None,
            tail: Vec::new(),
        }
    }
}

impl Area {
    /// For the key of this COSE_Key.
    pub(super) fn bytes(&self, cose: &[u8]) -> Vec<u8> {
        let cose = Value::parse(cose).unwrap();
        let member = |label| cose.as_map().unwrap().int(label);
        let bytes = |label| member(label).and_then(Value::as_bytes).unwrap().to_vec();
        let is_rsa = member(1).and_then(Value::as_int) == Some(3);
        let kind = self.kind.unwrap_or(if is_rsa { structures::RSA } else { structures::ECC });
        let (parameters, unique) = if is_rsa {
            let bits = self.bits.unwrap_or_else(|| u16::try_from(bytes(-1).len() * 8).unwrap());
            let parameters = [&bits.to_be_bytes()[..], &self.exponent_or_curve.unwrap_or(0).to_be_bytes()].concat();
            (parameters, vec![bytes(-1)])
        } else {
            let curve = member(-1).and_then(Value::as_int).and_then(|crv| u32::try_from(crv + 2).ok()).unwrap();
            let curve = u16::try_from(self.exponent_or_curve.unwrap_or(curve)).unwrap();
            ([curve.to_be_bytes().to_vec(), numbers(&self.kdf)].concat(), vec![bytes(-2), bytes(-3)])
        };
        [
            numbers(&[kind, self.name_alg]),
            self.attributes.to_be_bytes().to_vec(),
            sized(&self.policy),
            numbers(&self.symmetric),
            numbers(&self.scheme),
            parameters,
            self.unique.as_ref().unwrap_or(&unique).iter().flat_map(|number| sized(number)).collect(),
            self.tail.clone(),
        ]
        .concat()
    }
}

impl Default for Info {
    fn default() -> Self {
        Self {
            magic: 0xff54_4347,
            kind: 0x8017,
            signer: [&[0, 0x0b][..], &[3; 32]].concat(),
            extra_data: None,
            clock_and_firmware: [1; 25],
            name: None,
            qualified_name: [&[0, 0x0b][..], &[4; 32]].concat(),
            tail: Vec::new(),
            change: nothing(),
        }
    }
}

impl Info {
    fn bytes(&self, area: &[u8], name_alg: u16, extra_data: &[u8]) -> Vec<u8> {
        let hash = [Hash::Sha1, Hash::Sha256, Hash::Sha384, Hash::Sha512].into_iter().find(|hash| hash.id() == name_alg);
        let name = [&name_alg.to_be_bytes()[..], &hash.unwrap_or(Hash::Sha256).digest(area)].concat();
        let mut bytes = [
            &self.magic.to_be_bytes()[..],
            &self.kind.to_be_bytes(),
            &sized(&self.signer),
            &sized(self.extra_data.as_deref().unwrap_or(extra_data)),
            &self.clock_and_firmware,
            &sized(self.name.as_ref().unwrap_or(&name)),
            &sized(&self.qualified_name),
            &self.tail,
        ]
        .concat();
        (self.change)(&mut bytes);
        bytes
    }
}

fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// Object identifiers of the extensions that an AIK certificate has.
pub(super) const ALTERNATIVE_NAME: &str = "2.5.29.17";
pub(super) const KEY_USAGE: &str = "2.5.29.37";

/// tcg-kp-AIKCertificate, in DER.
pub(super) const AIK_USAGE: &[u8] = &[0x06, 0x05, 0x67, 0x81, 0x05, 0x08, 0x03];

/// Manufacturer, model and version.
pub(super) const TPM_NAME: &[(u8, &str)] = &[(1, "id:494E5443"), (2, "Test TPM"), (3, "id:13")];

/// As section 8.3.1 demands.
pub(super) fn aik_certificate() -> CertificateSpec<'static> {
    let extensions = vec![(ALTERNATIVE_NAME, true, alternative_name(TPM_NAME, false)), (KEY_USAGE, false, element(0x30, AIK_USAGE))];
    CertificateSpec { subject: &[], extensions, ..CertificateSpec::default() }
}

/// A subject alternative name with a directoryName of these parts, 2.23.133.2.n each, in sets of their own or together in one.
pub(super) fn alternative_name(parts: &[(u8, &str)], together: bool) -> Vec<u8> {
    let part =
        |(n, text): &(u8, &str)| element(0x30, &[element(0x06, &[0x67, 0x81, 0x05, 0x02, *n]), element(0x0c, text.as_bytes())].concat());
    let parts: Vec<_> = parts.iter().map(part).collect();
    let sets: Vec<_> = if together { vec![element(0x31, &parts.concat())] } else { parts.iter().map(|part| element(0x31, part)).collect() };
    element(0x30, &element(0xa4, &element(0x30, &sets.concat())))
}

/// Of at most 127 bytes.
pub(super) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u8::try_from(contents.len()).unwrap();
    assert!(length < 0x80);
    [&[tag, length], contents].concat()
}
