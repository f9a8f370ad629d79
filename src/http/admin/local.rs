//! The admin API within the process that asks: for commands, where no server runs that could be asked.

use std::sync::Arc;

use axum::{Router, body::Body};
use http_body_util::BodyExt as _;
use hyper::{Method, Request, header};
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

/// What was answered.
#[derive(Debug)]
pub struct LocalAnswer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// The most bytes of a body: what is attached to a key, in base64, is the largest.
const BODY_LIMIT: usize = 4 << 20;

impl Local {
    /// Routes to these services.
    pub fn new(services: Services) -> Self {
        let state = AppState {
            services,
            body_limit: BODY_LIMIT,
            body_timeout: std::time::Duration::from_secs(10),
            trusted_proxies: Arc::new(TrustedProxies::default()),
            metrics: Metrics(Arc::new(String::new)),
            dev: None,
            admin: Arc::new(AdminAccess { credentials: Credentials::Token, origins: Vec::new() }),
        };
        Self { router: admin_router(state), uid: geteuid().as_raw() }
    }

    /// Asks; `target` is the path with its query, `authorization` the header with a bearer token.
    ///
    /// # Errors
    /// When `target` or `authorization` cannot be part of a request.
    pub async fn call(
        &self,
        method: &Method,
        target: &str,
        authorization: Option<&str>,
        body: Option<Vec<u8>>,
    ) -> Result<LocalAnswer, hyper::http::Error> {
        let mut request = Request::builder().method(method).uri(target).header(header::HOST, "localhost");
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let mut request = request.body(Body::from(body.unwrap_or_default()))?;
        request.extensions_mut().insert(Peer::Local { uid: self.uid });
        let response = match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
        Ok(LocalAnswer { status, body })
    }
}
