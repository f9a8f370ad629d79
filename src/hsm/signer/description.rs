//! What the token says of private keys now, whatever it said when they were made.

use cryptoki::{
    object::{Attribute, AttributeType, ObjectClass, ObjectHandle},
    session::Session,
};

use super::{
    attributes, health,
    index::{Lookup, find},
    keys::KeyError,
    lane::Lane,
};
use crate::hsm::protocol::Failure;

/// A JSON object for each `CKA_ID`, `None` where there is no private key of that id on a token that works. `private_keys` is how many share the
/// id, where that is not one: then the rest is of the first.
pub(super) fn describe<T: AsRef<[u8]>>(lane: &mut Lane, cka_ids: &[T]) -> Result<Vec<Option<String>>, KeyError> {
    let mut described = Vec::with_capacity(cka_ids.len());
    {
        let _shared = lane.device.index.shared();
        for cka_id in cka_ids {
            described.push(describe_one(lane, cka_id.as_ref())?);
        }
    }
    // "Found nothing" is also what a module says whose token is gone.
    if described.iter().any(Option::is_none) && !health::token_works(lane).map_err(|why| KeyError::Failure(Failure::Device(why)))? {
        return Err(KeyError::Failure(Failure::Device("the token shows neither these keys nor the health key".to_owned())));
    }
    Ok(described)
}

fn describe_one(lane: &Lane, cka_id: &[u8]) -> Result<Option<String>, KeyError> {
    // A handle that is known saves a search through every object. It is good if the object still has that id.
    let known = match lane.device.index.known(cka_id) {
        Some(Lookup::Found(handle)) => lane.call(|session| Ok(has_id(session, handle, cka_id)))?.then_some(handle),
        _ => None,
    };
    let handles = match known {
        Some(handle) => vec![handle],
        None => lane.call(|session| find(session, ObjectClass::PRIVATE_KEY, Attribute::Id(cka_id.to_vec())))?,
    };
    let Some(first) = handles.first() else { return Ok(None) };
    let mut found = lane.call(|session| attributes::describe(session, *first))?;
    if handles.len() > 1 {
        found.insert("private_keys".to_owned(), handles.len().into());
    }
    Ok(Some(serde_json::Value::Object(found).to_string()))
}

fn has_id(session: &Session, handle: ObjectHandle, cka_id: &[u8]) -> bool {
    attributes::read_bytes(session, handle, AttributeType::Id).is_ok_and(|id| id == cka_id)
}
