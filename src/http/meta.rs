//! Who asks: request id, source address, user agent. And what came of it: one line in the log, two numbers in the metrics.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use hyper::{HeaderMap, Method, header, header::HeaderValue};
use tracing::Instrument;

use super::AppState;
use crate::domain::{AdminHash, Cidr, RequestMeta};

/// The other end of the connection; put into each request by the server.
#[derive(Debug, Clone)]
pub(super) enum Peer {
    /// Over the network.
    Network {
        address: SocketAddr,
        tls: bool,
        /// Of the certificate that it showed, which leads to one of the configured roots.
        certificate: Option<AdminHash>,
    },
    /// On this host, by the Unix socket or within this process, as this user.
    Local { uid: u32 },
}

impl Peer {
    /// Its address, if it has one.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        if let Self::Network { address, .. } = self { Some(address.ip()) } else { None }
    }

    /// The scheme of the URL under which it connected.
    pub(super) fn scheme(&self) -> &'static str {
        if matches!(self, Self::Network { tls: true, .. }) { "https" } else { "http" }
    }
}

/// The networks whose `X-Forwarded-For` is believed. Nobody else's is: a source address in the audit trail is worth nothing otherwise.
#[derive(Debug, Default)]
pub struct TrustedProxies(Vec<Cidr>);

impl TrustedProxies {
    /// Trusts the hosts of `networks`.
    pub fn new(networks: Vec<Cidr>) -> Self {
        Self(networks)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The client's address: the last hop that no trusted proxy vouches for.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
        for hop in forwarded.collect::<Vec<_>>().into_iter().rev() {
            let Ok(hop) = hop.trim().parse::<IpAddr>() else { break };
            if !self.trusts(client) {
                break;
            }
            client = hop.to_canonical();
        }
        client
    }

    /// How the client spoke to the proxy, if `peer` is one that is believed, and says so.
    pub(super) fn scheme(&self, peer: IpAddr, headers: &HeaderMap) -> Option<&'static str> {
        let told = headers.get("x-forwarded-proto").filter(|_| self.trusts(peer.to_canonical()))?.to_str().ok()?;
        ["http", "https"].into_iter().find(|scheme| told.trim().eq_ignore_ascii_case(scheme))
    }
}

/// Gives the request its [`RequestMeta`] and its span, and the answer its `X-Request-Id`.
pub(super) async fn identify(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let (id, meta) = who_asks(&state, &request);
    // As much of the path as any of ours has: each line of the log repeats it.
    let path: String = request.uri().path().chars().take(RequestMeta::MAX_CHARS).collect();
    let span = tracing::info_span!("request", request_id = meta.request_id, source = meta.source_ip, path);
    request.extensions_mut().insert(meta);
    let mut response = next.run(request).instrument(span).await;
    if let Some(id) = id {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

fn who_asks(state: &AppState, request: &Request) -> (Option<HeaderValue>, RequestMeta) {
    // One that is not text could not be in the log: such a request gets a name of ours.
    let sent = request.headers().get("x-request-id").filter(|v| v.to_str().is_ok_and(|text| !text.is_empty())).cloned();
    let id = sent.or_else(|| HeaderValue::try_from(random_id(&*state.services.context.rng)).ok());
    let text = |value: Option<&HeaderValue>| value.and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let peer = request.extensions().get::<Peer>().and_then(Peer::ip);
    let source = peer.map(|peer| state.trusted_proxies.client(peer, request.headers()).to_string()).unwrap_or_default();
    let meta = RequestMeta::new(&text(id.as_ref()), &source, &text(request.headers().get(header::USER_AGENT)));
    (id, meta)
}

/// 32 random letters and digits.
fn random_id(rng: &dyn crate::domain::Rng) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789AZ";
    rng.bytes::<32>().iter().map(|b| char::from(ALPHABET[usize::from(b & 63)])).collect()
}

/// Logs and counts each request, by route template rather than by path.
pub(super) async fn observe(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let mut record = Record { method: known(request.method()), route, begun: Instant::now(), status: None };
    let response = next.run(request).await;
    record.status = Some(response.status().as_u16());
    response
}

/// Written down when it is dropped: also when the client left, for then what was begun may have had its effect all the same.
struct Record {
    method: &'static str,
    route: String,
    begun: Instant,
    /// Of the answer, if there was one.
    status: Option<u16>,
}

impl Drop for Record {
    fn drop(&mut self) {
        let (method, route, elapsed) = (self.method, std::mem::take(&mut self.route), self.begun.elapsed());
        let elapsed_us = elapsed.as_micros();
        if let Some(status) = self.status {
            tracing::info!(method, route, status, elapsed_us, "{method} {route} {status}");
        } else {
            tracing::info!(method, route, elapsed_us, "{method} {route}: the client left before there was an answer");
        }
        let status = self.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        let labels = [("method", method.to_owned()), ("route", route), ("status", status)];
        metrics::counter!("http_requests_total", &labels).increment(1);
        metrics::histogram!("http_request_seconds", &labels).record(elapsed.as_secs_f64());
    }
}

/// The method, if it is one of HTTP's own. A client may invent others, and the metrics keep each combination of labels for ever.
fn known(method: &Method) -> &'static str {
    const NAMES: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
    NAMES.into_iter().find(|name| *name == method.as_str()).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_a_trusted_proxys_word() {
        let scheme = |peer: &str, told: &'static str| {
            let headers =
                HeaderMap::from_iter([(hyper::header::HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static(told))]);
            TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]).scheme(peer.parse().unwrap(), &headers)
        };
        assert_eq!(scheme("10.0.0.1", "https"), Some("https"));
        assert_eq!(scheme("::ffff:10.0.0.1", "HTTP "), Some("http"));
        assert_eq!(scheme("192.0.2.1", "https"), None);
        for told in ["", "gopher", "https,http", "javascript"] {
            assert_eq!(scheme("10.0.0.1", told), None, "{told}");
        }
    }

    fn client(trusted: &[&str], peer: &str, forwarded: &[&'static str]) -> String {
        let networks = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        TrustedProxies::new(networks).client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(client(&[], "192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(client(&["192.0.2.0/24"], "192.0.2.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client(&["192.0.2.0/24"], "192.0.2.1", &["203.0.113.9, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(client(&["192.0.2.0/24"], "192.0.2.1", &["203.0.113.9", "192.0.2.77"]), "203.0.113.9");
        assert_eq!(client(&["192.0.2.0/24"], "::ffff:192.0.2.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client(&["192.0.2.0/25"], "192.0.2.200", &["198.51.100.7"]), "192.0.2.200");
        assert_eq!(client(&["0.0.0.0/0"], "192.0.2.1", &["unknown"]), "192.0.2.1");
    }
}
