//! What `serve` and a signer process say to each other: few typed messages over a Unix socket pair.
//!
//! A frame is a length (u32, little endian) and that many bytes of postcard. Both ends are the same binary, so that the version in
//! [`Request::Hello`] only guards against an upgrade under a running server. A deadline travels as the milliseconds that are left of it:
//! two processes share no monotonic clock that either could name.

use std::{borrow::Cow, io, io::Read};

use bytes::{Buf as _, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Inventory, TokenInfo, Unlocked};
use crate::domain::{KeyEvidence, KeyId, SigningAlgorithm, Timestamp};

/// Raised whenever a message changes shape.
pub(super) const VERSION: u16 = 3;

/// The most bytes of a request. A signing input is a few hundred.
pub(super) const MAX_REQUEST: usize = 64 * 1024;

/// The most bytes of a reply. An inventory of 10 000 keys has about 700 kB.
pub(super) const MAX_REPLY: usize = 4 * 1024 * 1024;

/// The bytes before a frame's body.
const HEADER: usize = 4;

/// A request with its number, which the reply repeats.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RequestFrame<'a> {
    /// Chosen by the client, unique per connection, never zero.
    pub(super) id: u64,
    /// Milliseconds after which nobody waits for the reply any more.
    pub(super) remaining_ms: u32,
    /// What is asked.
    pub(super) body: Request<'a>,
}

/// What a client asks of a signer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request<'a> {
    /// First on every connection; answered when the token is open, logged in and indexed.
    Hello { version: u16 },
    /// A signature over a JWS signing input.
    Sign(Sign<'a>),
    /// A key pair; idempotent by its id.
    Generate(Generate<'a>),
    /// A key pair that is on the token already, to go by a new id.
    Adopt(Adopt<'a>),
    /// The end of a key pair.
    Destroy {
        kid: KeyId,
        /// Where the token knows it by another one than `kid`'s bytes.
        cka_id: Option<Cow<'a, [u8]>>,
    },
    /// What is on the token.
    Inventory,
    /// Attributes of private keys, by `CKA_ID`.
    Describe { cka_ids: Vec<Cow<'a, [u8]>> },
    /// A proof of possession.
    Prove(Prove<'a>),
    /// A signature with the health key.
    Health {
        nonce: u64,
        /// Whether it goes before everything else: the supervisor's question does, a measurement does not.
        urgent: bool,
    },
    /// The root key's one signature.
    Unlock {
        /// Whose it has to be, as SubjectPublicKeyInfo; where there is none yet the pair is made.
        public_key: Option<Cow<'a, [u8]>>,
    },
    /// Answered by the thread that reads the socket, whatever the others do.
    Ping,
}

/// See [`Request::Sign`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sign<'a> {
    pub(super) kid: KeyId,
    pub(super) cka_id: Cow<'a, [u8]>,
    pub(super) algorithm: SigningAlgorithm,
    /// SubjectPublicKeyInfo in DER: what a mechanism is negotiated against.
    pub(super) public_key: Cow<'a, [u8]>,
    pub(super) signing_input: Cow<'a, str>,
    /// The last signature did not verify: the handle may be stale, look it up again.
    pub(super) fresh: bool,
}

/// See [`Request::Generate`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Generate<'a> {
    pub(super) kid: KeyId,
    pub(super) algorithm: SigningAlgorithm,
    pub(super) rsa_bits: Option<u32>,
    pub(super) now: Timestamp,
    pub(super) actor: Cow<'a, str>,
}

/// See [`Request::Adopt`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Adopt<'a> {
    pub(super) kid: KeyId,
    pub(super) cka_id: Option<Cow<'a, [u8]>>,
    pub(super) label: Option<Cow<'a, str>>,
    pub(super) algorithm: SigningAlgorithm,
    pub(super) now: Timestamp,
    pub(super) actor: Cow<'a, str>,
}

/// See [`Request::Prove`]. The message is made by the signer: no byte of it but `kid` and `nonce` is the client's.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Prove<'a> {
    pub(super) kid: KeyId,
    pub(super) cka_id: Cow<'a, [u8]>,
    pub(super) algorithm: SigningAlgorithm,
    pub(super) public_key: Cow<'a, [u8]>,
    pub(super) nonce: [u8; 32],
    /// See [`Sign::fresh`].
    pub(super) fresh: bool,
}

/// A reply with the number of its request; zero for what nobody asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReplyFrame {
    pub(super) id: u64,
    pub(super) body: Reply,
}

/// What a signer answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Hello(Hello),
    /// JOSE form.
    Signature(Vec<u8>),
    Generated(Generated),
    Destroyed(bool),
    Inventory(Inventory),
    /// JSON objects, in the order of what was asked for.
    Described(Vec<Option<String>>),
    Health(HealthProof),
    Unlocked(Unlocked),
    Pong {
        /// How long the oldest call into the module that is going on has been, in milliseconds. Key generation is not counted.
        call_ms: u32,
    },
    Failed(Failure),
    /// The process ends and says why, before its exit code can.
    Stopping {
        code: u8,
        text: String,
    },
}

/// See [`Request::Hello`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) version: u16,
    pub(super) token: TokenInfo,
    pub(super) has_health_key: bool,
}

/// See [`Request::Generate`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Generated {
    pub(super) cka_id: Vec<u8>,
    pub(super) public_key: Vec<u8>,
    pub(super) evidence: KeyEvidence,
}

/// A signature over [`super::health::message`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HealthProof {
    pub(super) algorithm: SigningAlgorithm,
    pub(super) public_key: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

/// Why a request was not done. The process lives on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Failure {
    /// Not on the token, and the health key signs: it is this key alone that is missing.
    KeyNotFound,
    /// More than one key, or half a pair, where one pair should be.
    KeyUnclear(String),
    /// The request is not one that this process does.
    Refused(String),
    /// The token cannot do this algorithm.
    Mechanism(String),
    /// The module said no to this request while the health key signs.
    Device(String),
    /// Nobody waits any more, or nobody will by the time.
    Expired,
    /// Too many requests wait.
    Busy,
}

/// A frame ready to be written.
pub(super) fn encode<T: Serialize>(frame: &T, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = postcard::to_extend(frame, vec![0; HEADER]).map_err(io::Error::other)?;
    let length = bytes.len() - HEADER;
    if length > max {
        return Err(too_long(length));
    }
    bytes[..HEADER].copy_from_slice(&u32::try_from(length).map_err(|_| too_long(length))?.to_le_bytes());
    Ok(bytes)
}

/// Decodes a frame's body; what is left over is an error.
pub(super) fn decode<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    match postcard::take_from_bytes(body) {
        Ok((frame, [])) => Ok(frame),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "bytes after a frame")),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}

/// Reads one frame's body into `buffer`; false at a clean end of the stream.
pub(super) fn read_frame(from: &mut impl Read, buffer: &mut Vec<u8>, max: usize) -> io::Result<bool> {
    let mut header = [0; HEADER];
    if from.read(&mut header[..1])? == 0 {
        return Ok(false);
    }
    from.read_exact(&mut header[1..])?;
    let length = body_length(header, max)?;
    buffer.resize(length, 0);
    from.read_exact(buffer)?;
    Ok(true)
}

/// Takes one whole frame's body off the front of `buffer`, if there is one.
pub(super) fn split_frame(buffer: &mut BytesMut, max: usize) -> io::Result<Option<BytesMut>> {
    let Some(header) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    let length = body_length(*header, max)?;
    if buffer.len() < HEADER + length {
        buffer.reserve(HEADER + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(HEADER);
    Ok(Some(buffer.split_to(length)))
}

fn body_length(header: [u8; HEADER], max: usize) -> io::Result<usize> {
    let length = usize::try_from(u32::from_le_bytes(header)).unwrap_or(usize::MAX);
    if length > max { Err(too_long(length)) } else { Ok(length) }
}

fn too_long(length: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ping(id: u64) -> Vec<u8> {
        encode(&RequestFrame { id, remaining_ms: 7, body: Request::Ping }, MAX_REQUEST).unwrap()
    }

    #[test]
    fn frames_round_trip_however_they_are_cut() {
        let bytes = [ping(1), ping(2)].concat();
        let mut buffer = BytesMut::new();
        let mut seen = Vec::new();
        for byte in bytes {
            buffer.extend_from_slice(&[byte]);
            while let Some(body) = split_frame(&mut buffer, MAX_REQUEST).unwrap() {
                seen.push(decode::<RequestFrame>(&body).unwrap().id);
            }
        }
        assert_eq!(seen, [1, 2]);
    }

    #[test]
    fn blocking_reads_tell_an_end_from_a_cut() {
        let bytes = ping(1);
        let mut buffer = Vec::new();
        assert!(read_frame(&mut bytes.as_slice(), &mut buffer, MAX_REQUEST).unwrap());
        assert!(!read_frame(&mut [].as_slice(), &mut buffer, MAX_REQUEST).unwrap());
        assert!(read_frame(&mut &bytes[..bytes.len() - 1], &mut buffer, MAX_REQUEST).is_err());
    }

    #[test]
    fn size_is_bounded_before_anything_is_allocated() {
        let huge = u32::MAX.to_le_bytes();
        assert!(read_frame(&mut huge.as_slice(), &mut Vec::new(), MAX_REQUEST).is_err());
        assert!(split_frame(&mut BytesMut::from(huge.as_slice()), MAX_REPLY).is_err());
        let long = Request::Sign(Sign {
            kid: KeyId::from_uuid(uuid::Uuid::nil()),
            cka_id: Cow::Borrowed(&[]),
            algorithm: SigningAlgorithm::Es256,
            public_key: Cow::Borrowed(&[]),
            signing_input: Cow::Owned("x".repeat(MAX_REQUEST)),
            fresh: false,
        });
        assert!(encode(&RequestFrame { id: 1, remaining_ms: 0, body: long }, MAX_REQUEST).is_err());
    }

    #[test]
    fn garbage_and_left_overs_are_errors() {
        assert!(decode::<RequestFrame>(&[0xff; 40]).is_err());
        let mut body = ping(3)[HEADER..].to_vec();
        body.push(0);
        assert!(decode::<RequestFrame>(&body).is_err());
    }
}
