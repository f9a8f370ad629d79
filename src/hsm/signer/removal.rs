//! The end of a key pair.

use cryptoki::{
    object::{Attribute, AttributeType, ObjectHandle},
    session::Session,
};

use super::{
    attributes,
    keys::{KeyError, Pair, refused, unclear},
    lane::Lane,
};
use crate::{
    domain::KeyId,
    hsm::{protocol::Failure, root_key::is_reserved},
};

/// Destroys both halves and looks again. False when there was no private half; on its own that proves nothing.
///
/// A pair that goes by its own id on the token is destroyed with every copy of it. One that goes by another (it was adopted, or the token
/// chooses ids itself) only where that id means one pair, and not one that is labelled as another key of ours: tokens with short ids give
/// them out again.
pub(super) fn destroy(lane: &Lane, kid: KeyId, cka_id: Option<&[u8]>) -> Result<bool, KeyError> {
    if is_reserved(kid.as_bytes()) || cka_id.is_some_and(is_reserved) {
        return refused("the health key and the root key are not to be destroyed");
    }
    let index = &lane.device.index;
    let _exclusive = index.exclusive();
    let find = |session: &Session| match cka_id {
        Some(id) => Pair::by_id(session, id),
        None => Pair::find(session, kid),
    };
    let pair = lane.call(find)?;
    if let Some(id) = cka_id.filter(|id| *id != kid.as_bytes()) {
        check_foreign(lane, &pair, kid, id)?;
    }
    let known_by = lane.call(|session| {
        pair.private.iter().map(|o| attributes::read_bytes(session, *o, AttributeType::Id)).collect::<Result<Vec<_>, _>>()
    })?;
    // The private half first: dying in between leaves what verifies, not what signs.
    for object in pair.private.iter().chain(&pair.public) {
        lane.call(|session| session.destroy_object(*object))?;
    }
    let left = lane.call(find)?;
    for id in known_by.iter().map(Vec::as_slice).chain([cka_id.unwrap_or(kid.as_bytes())]) {
        index.put(id, Vec::new());
    }
    if left.private.is_empty() {
        Ok(!pair.private.is_empty())
    } else {
        Err(KeyError::Failure(Failure::Device("the key is still there".to_owned())))
    }
}

fn check_foreign(lane: &Lane, pair: &Pair, kid: KeyId, cka_id: &[u8]) -> Result<(), KeyError> {
    let (private, public) = (pair.private.len(), pair.public.len());
    if private > 1 || public > 1 {
        return unclear(format!(
            "{private} private and {public} public keys share its CKA_ID: which of them is meant is for a person to say"
        ));
    }
    for object in pair.private.iter().chain(&pair.public) {
        if let Some(other) = lane.call(|session| labelled(session, *object))?
            && other != kid
            && other.as_bytes() != cka_id
        {
            return unclear(format!("the token has given its CKA_ID to key {other}"));
        }
    }
    Ok(())
}

/// The key of ours that the object's label names.
fn labelled(session: &Session, object: ObjectHandle) -> cryptoki::error::Result<Option<KeyId>> {
    Ok(match attributes::read(session, object, AttributeType::Label)? {
        Some(Attribute::Label(label)) => std::str::from_utf8(&label).ok().and_then(|text| text.parse().ok()),
        _ => None,
    })
}
