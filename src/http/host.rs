//! Which host a request is for (RFC 9110 section 7.2).

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use hyper::{HeaderMap, Version, header, http::uri::Authority};
use url::Host;

use super::{AppState, Error};

/// Refuses a request of HTTP/1.1 without a host, and any with two: hops that read such a one may disagree (RFC 9112 section 3.2).
pub(super) async fn exactly_one(request: Request, next: Next) -> Response {
    match request.headers().get_all(header::HOST).iter().count() {
        1 => next.run(request).await,
        0 if request.version() < Version::HTTP_11 => next.run(request).await,
        _ => Error::unprocessable("a request names exactly one Host").into_response(),
    }
}

/// Refuses requests for hosts other than this one's own: the public URL's, localhost and what is below it, and loopback addresses.
///
/// A page of any site can have its own name point to the loopback address once it is loaded (DNS rebinding). To the browser it is then of
/// one origin with us, and no rule of the browser's keeps it from what asks for no key.
pub(super) async fn own(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if is_own(request.headers(), state.services.context.public_url.host_str()) {
        next.run(request).await
    } else {
        Error::misdirected().into_response()
    }
}

/// The host that a request names, without its port, as URLs have it: a domain in lower case and ASCII. None when it is no host at all.
pub(super) fn named(headers: &HeaderMap) -> Option<Host> {
    let authority = headers.get(header::HOST)?.to_str().ok()?.parse::<Authority>().ok()?;
    // `user@host` is no host, and who reads it may take either for one.
    let authority = Some(authority).filter(|authority| !authority.as_str().contains('@'))?;
    Host::parse(authority.host()).ok()
}

fn is_own(headers: &HeaderMap, public_host: Option<&str>) -> bool {
    match named(headers) {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost") || Some(name.as_str()) == public_host,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn own_names() {
        let is_own =
            |host: &'static str| is_own(&HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]), Some("dev.example"));
        for own in ["localhost", "LocalHost:8000", "a.localhost", "127.0.0.1", "127.1.2.3:80", "[::1]:8000", "dev.example", "DEV.example:1"]
        {
            assert!(is_own(own), "{own}");
        }
        for foreign in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "x@localhost",
            "localhost@evil.example",
            "10.0.0.1",
            "[::2]",
            "a.dev.example",
        ] {
            assert!(!is_own(foreign), "{foreign}");
        }
    }
}
