//! The admin API within the process that asks: for commands, where no server runs that could be asked.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::HttpBody};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{Request, Response};
use rustix::process::geteuid;
use tower::ServiceExt as _;

use super::{AdminAccess, Credentials, Metrics};
use crate::{
    http::{AppState, TrustedProxies, admin_router, meta::Peer},
    services::Services,
};

/// The admin listener's routes, called by the user of this process as if over the Unix socket.
#[derive(Clone, Debug)]
pub struct Local {
    router: Router,
    uid: u32,
}

impl Local {
    /// Routes to these services; bodies may have `body_limit` bytes.
    pub fn new(services: Services, body_limit: usize) -> Self {
        let state = AppState {
            services,
            body_limit,
            // It is there already.
            body_timeout: Duration::from_mins(1),
            trusted_proxies: Arc::new(TrustedProxies::default()),
            metrics: Metrics(Arc::new(String::new)),
            dev: None,
            admin: Arc::new(AdminAccess { credentials: Credentials::Token, origins: Vec::new() }),
        };
        Self { router: admin_router(state), uid: geteuid().as_raw() }
    }

    /// Asks, with a request that is whole: `Host`, and `Content-Type` where it has a body.
    ///
    /// # Errors
    /// When the answer broke off.
    pub async fn call<B>(&self, request: Request<B>) -> Result<Response<Bytes>, Box<dyn std::error::Error + Send + Sync>>
    where
        B: HttpBody<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(Peer::Local { uid: self.uid });
        let response = self.router.clone().oneshot(request).await.map_err(|never| match never {})?;
        let (parts, body) = response.into_parts();
        Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    }
}
