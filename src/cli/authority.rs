//! Who commands, where a command does its work on the database itself rather than through the admin API. Under dual control being on the
//! server's host is not enough: an admin token says who it is, with the rights that it has there.

use super::{Failure, client::Reach, setup};
use crate::{
    domain::{Actor, Caller, Permission, RequestMeta, Role, TenantId},
    services::{By, Services},
};

/// Who commands, if that is somebody who may.
///
/// # Errors
/// When dual control is on and no token is shown; when the token opens nothing, or not this.
pub(super) async fn commander(
    reach: &Reach<'_>,
    services: &Services,
    permission: Permission,
    tenant: Option<TenantId>,
) -> Result<(Caller, By), Failure> {
    let caller = match reach.options.admin_token()? {
        Some(token) => {
            let known = services.admins.authenticate(&token.hash()).await?;
            known.ok_or_else(|| Failure::new("the admin token is unknown, revoked or expired"))?
        }
        None if services.context.governance.dual_control => {
            return Err(Failure::new("dual control is on: show an admin token: --admin-token-file FILE, or PASSKEY_HSM_ADMIN_TOKEN"));
        }
        None => Caller { actor: Actor::Local { uid: setup::uid() }, role: Role::Admin, tenants: Vec::new() },
    };
    if !caller.may(permission, tenant) {
        return Err(Failure::new(format!("the role {} does not have {permission} here", caller.role)));
    }
    let by = By { actor: caller.actor.clone(), reason: None, meta: RequestMeta::default() };
    Ok((caller, by))
}
