//! The HTTP API as clients use it, and what they may rely on in its answers.

use std::{ops::Deref, path::Path, time::Duration};

use reqwest::{Client, ClientBuilder, Method, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};

use super::{
    authenticator::{Draft, Format},
    keys::Algorithm,
    openapi::{self, Operation},
};

/// One listener.
#[derive(Clone)]
pub struct Api {
    base: String,
    client: Client,
    token: Option<String>,
}

impl Api {
    pub fn new(base: &str) -> Self {
        Self::with(base, |client| client)
    }

    /// With a client that has something unusual.
    pub fn with(base: &str, unusual: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        // A proxy in someone's environment has no business with loopback.
        let client = Client::builder().no_proxy().timeout(Duration::from_mins(1));
        Self { base: base.to_owned(), client: unusual(client).build().unwrap(), token: None }
    }

    /// The admin API over a Unix socket.
    pub fn over_socket(path: &Path) -> Self {
        Self::with("http://localhost", |client| client.unix_socket(path))
    }

    /// The same, showing this token with each request.
    pub fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    /// What it shows.
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap()
    }

    /// `path` begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, self.url(path));
        if let Some(token) = &self.token { request.bearer_auth(token) } else { request }
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path)).await
    }

    /// Sends JSON by any method.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Answer {
        Answer::to(self.request(method, path).json(body)).await
    }

    /// Without a body.
    pub async fn delete(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::DELETE, path)).await
    }

    /// Posts bytes as JSON.
    pub async fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        Answer::to(self.request(Method::POST, path).header("Content-Type", "application/json").body(body.into())).await
    }
}

/// A tenant, its API key, and the server they are on.
#[derive(Clone)]
pub struct Tenant {
    api: Api,
    pub id: String,
    pub api_key: String,
    pub kid: String,
    pub rp_id: String,
    pub origin: String,
}

impl Deref for Tenant {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Tenant {
    /// From what `tenant create --json` printed.
    pub fn new(api: Api, made: &Value, rp_id: &str, origin: &str) -> Self {
        let member = |value: &Value, name: &str| value[name].as_str().unwrap_or_else(|| panic!("no {name} in the new tenant")).to_owned();
        Self {
            api,
            id: member(made, "id"),
            api_key: member(&made["api_key"], "secret"),
            kid: member(made, "kid"),
            rp_id: rp_id.to_owned(),
            origin: origin.to_owned(),
        }
    }

    /// The same tenant, seen through the listeners of a restarted server.
    pub fn at(&self, api: Api) -> Self {
        Self { api, ..self.clone() }
    }

    pub fn path(&self, rest: &str) -> String {
        format!("/{}{rest}", self.id)
    }

    /// Begins a registration with the API key; `body` as bytes.
    pub async fn initialize(&self, body: impl Into<Vec<u8>>) -> Answer {
        let request = self.request(Method::POST, &self.path("/registration/initialize"));
        Answer::to(request.header("apiKey", &self.api_key).header("Content-Type", "application/json").body(body.into())).await
    }

    /// Creation options for a user; panics when there are none.
    pub async fn options(&self, user_id: &str) -> Value {
        let answer = self.initialize(json!({"user_id": user_id, "username": "ann"}).to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    /// An honest answer to fresh options.
    pub async fn draft(&self, user_id: &str, format: Format, algorithm: Algorithm) -> Draft {
        Draft::new(&self.options(user_id).await, &self.origin, format, algorithm)
    }

    pub async fn finalize(&self, body: impl Into<Vec<u8>>) -> Answer {
        self.post(&self.path("/registration/finalize"), body).await
    }

    pub async fn jwks(&self) -> Answer {
        self.get(&self.path("/.well-known/jwks.json")).await
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
    /// Which operation of either API this is of, if of any.
    pub operation: Option<Operation>,
}

impl Answer {
    /// Sends a request. What comes back is as the program's own document describes it, whatever the request was.
    pub async fn to(request: RequestBuilder) -> Self {
        let (client, request) = request.build_split();
        let request = request.unwrap();
        let operation = openapi::operation(request.method().as_str(), request.url().path());
        let response = client.execute(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let answer = Self { status, headers, body: response.text().await.unwrap(), operation };
        // What could not be read as HTTP is answered below the API; 421 is the development page's, at the place of the status page.
        let described = answer.headers.contains_key("x-request-id") && status != 421;
        if let Some(operation) = answer.operation.as_ref().filter(|_| described) {
            let faults = openapi::faults(operation, status, answer.header("Content-Type"), &answer.body);
            assert!(faults.is_empty(), "{operation:?}, not as described: {faults:#?}\n{status} {}", answer.body);
        }
        answer
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// A header's value; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The token of a finalize that succeeded.
    pub fn token(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.body);
        let answer = self.json();
        assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
        answer["token"].as_str().unwrap().to_owned()
    }

    /// An error in the contract's form (1.3): exactly `title`, `details` and `status`. Returns the details.
    pub fn problem(&self, status: u16, title: &str) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.header("Content-Type"), "application/json; charset=UTF-8");
        assert_ne!(self.header("X-Request-Id"), "");
        let mut problem = self.json();
        let details = problem["details"].take().as_str().unwrap_or_else(|| panic!("{}", self.body)).to_owned();
        assert_eq!(problem, json!({"title": title, "details": null, "status": status}));
        details
    }
}

/// What `name` counts among metrics in Prometheus' text form.
pub fn counter(metrics: &str, name: &str) -> u64 {
    let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("{name} is not among the metrics: {metrics}"))
}
