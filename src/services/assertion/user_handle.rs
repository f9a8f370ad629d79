//! User handles: which user an authenticator says a credential belongs to.

use uuid::Uuid;

use crate::domain::UserId;

/// The users that a handle can mean, the likelier first: the one whose id is its bytes, and for 16 bytes the one whose id is the UUID that
/// they are, because older clients sent a user's UUID in binary.
pub(in crate::services) fn meanings(handle: &[u8]) -> impl Iterator<Item = UserId> + use<> {
    let text = std::str::from_utf8(handle).ok().and_then(|text| text.parse().ok());
    let uuid = Uuid::from_slice(handle).ok().and_then(|uuid| uuid.to_string().parse().ok());
    text.into_iter().chain(uuid)
}

/// The handle of a user in the form in which the client sent it, if what it sent can mean that user; else the user's id.
pub(super) fn of<'a>(user: &'a UserId, sent: Option<&'a [u8]>) -> &'a [u8] {
    match sent {
        Some(handle) if meanings(handle).any(|meant| meant == *user) => handle,
        _ => user.as_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "6f7a1c52-0d3b-4f0e-9f6a-2f1f0a1b2c3d";

    fn meant(handle: &[u8]) -> Vec<String> {
        meanings(handle).map(|user| user.as_str().to_owned()).collect()
    }

    #[test]
    fn a_handle_is_a_users_id_or_its_uuid() {
        let uuid = Uuid::try_parse(UUID).unwrap();
        assert_eq!(meant(b"u1"), ["u1"]);
        assert_eq!(meant(UUID.as_bytes()), [UUID]);
        // Not UTF-8: it can only be the UUID.
        assert_eq!(meant(uuid.as_bytes()), [UUID]);
        // 16 letters are a user's id before they are a UUID.
        assert_eq!(meant(b"sixteen letters."), ["sixteen letters.", "73697874-6565-6e20-6c65-74746572732e"]);
        assert_eq!(meant(&[0; 16]), ["00000000-0000-0000-0000-000000000000"]);
        assert_eq!(meant(b""), [""; 0]);
        assert_eq!(meant(&[0xff; 15]), [""; 0]);
    }

    #[test]
    fn a_users_handle_is_taken_in_the_form_that_was_sent() {
        let (user, uuid) = (UUID.parse::<UserId>().unwrap(), Uuid::try_parse(UUID).unwrap());
        assert_eq!(of(&user, Some(uuid.as_bytes())), uuid.as_bytes());
        for sent in [None, Some(UUID.as_bytes()), Some(b"u1"), Some(&[7; 16])] {
            assert_eq!(of(&user, sent), UUID.as_bytes());
        }
        let user: UserId = "sixteen letters.".parse().unwrap();
        assert_eq!(of(&user, Some(b"sixteen letters.")), b"sixteen letters.");
    }
}
