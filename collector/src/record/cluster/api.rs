//! A small blocking client of the API server.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;

use super::kubeconfig::{self, Access, Credential, Given};
use super::proxies;
use super::resolver::Remembering;
use crate::record::moment::Moment;

/// Longest answer that is taken whole: a list of some 10,000 objects.
const LONGEST: u64 = 256 << 20;
/// How long an answer may take in all.
const PATIENCE: Duration = Duration::from_secs(30);
/// How old a token may get before its file is read again.
const TOKEN_AGE: Duration = Duration::from_secs(60);
/// Where systems keep the certificates that they trust.
const SYSTEM_CA: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Why there is no answer, or which one. Never holds a secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer, or one that broke off.
    #[error("{0}")]
    Unreachable(String),
    /// The server refused.
    #[error("{code} {reason}: {message}")]
    Status {
        /// Of HTTP.
        code: u16,
        /// `Forbidden`, `NotFound`, `Expired`; empty where the answer had none.
        reason: String,
        /// For people.
        message: String,
    },
    /// An answer that is not what it should be.
    #[error("expected JSON from the API server: {0}")]
    Malformed(String),
}

impl ApiError {
    /// Code of HTTP, where there was an answer.
    pub fn code(&self) -> Option<u16> {
        match self {
            ApiError::Status { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// Way to change an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Post,
    Put,
    Patch,
    Delete,
}

/// The API server, or a plain HTTP server where [`Api::plain`] made it. All threads share one.
pub struct Api {
    access: Access,
    agent: Mutex<Agent>,
    /// For what does not end: it is shut down first, while requests still go on.
    streams: Mutex<Agent>,
    given: Mutex<Option<(Instant, Given)>>,
}

impl fmt::Debug for Api {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Api").field("server", &self.access.server).finish_non_exhaustive()
    }
}

impl Api {
    /// The API server of `--kubeconfig`, of `KUBECONFIG`, of the pod's account or of `~/.kube/config`. Asks it nothing yet.
    ///
    /// # Errors
    /// In words: no way to it was found, or what was found is damaged.
    pub fn find(kubeconfig: Option<&Path>) -> Result<Self, String> {
        Self::of(kubeconfig::find(kubeconfig)?)
    }

    /// A server without encryption and accounts (`http://127.0.0.1:8001`, as `kubectl proxy` gives it).
    ///
    /// # Errors
    /// None that a valid URL gives.
    pub fn plain(server: &str) -> Result<Self, String> {
        Self::of(Access {
            server: server.trim_end_matches('/').to_owned(),
            from: server.to_owned(),
            ..Access::default()
        })
    }

    fn of(access: Access) -> Result<Self, String> {
        let mut given = None;
        let mut certificate = access.certificate.clone();
        if let Credential::Plugin(plugin) = &access.credential {
            let fresh = plugin.ask()?;
            certificate = fresh.certificate.clone().or(certificate);
            given = Some((Instant::now(), fresh));
        }
        let (requests, streams) = (agent(&access, certificate.as_ref())?, agent(&access, certificate.as_ref())?);
        Ok(Self { access, agent: Mutex::new(requests), streams: Mutex::new(streams), given: Mutex::new(given) })
    }

    /// `https://10.96.0.1:443`.
    pub fn server(&self) -> &str {
        &self.access.server
    }

    /// Where the account comes from, for people.
    pub fn account(&self) -> &str {
        &self.access.from
    }

    /// Namespace of the account or the context.
    pub fn namespace(&self) -> Option<&str> {
        self.access.namespace.as_deref()
    }

    /// The token that requests carry, for servers that take the same one (a kubelet). Never write it anywhere.
    ///
    /// # Errors
    /// Its file cannot be read, or the exec plugin fails.
    pub fn token(&self) -> Result<Option<String>, String> {
        Ok(self.authorization()?.and_then(|header| header.strip_prefix("Bearer ").map(str::to_owned)))
    }

    /// GET; the answer whole. The path begins with `/`.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, ApiError> {
        let request = self.agent().get(self.url(path)).config().timeout_global(Some(PATIENCE)).build();
        let request = match self.header()? {
            Some(header) => request.header("Authorization", header),
            None => request,
        };
        whole(request.call())
    }

    /// GET; the answer as JSON.
    ///
    /// # Errors
    /// No answer, a refusal, or no JSON.
    pub fn json(&self, path: &str) -> Result<Value, ApiError> {
        parsed(&self.get(path)?)
    }

    /// GET of what does not end (a watch, a log that is followed). Reading fails where nothing comes for `quiet`.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub fn stream(&self, path: &str, quiet: Duration) -> Result<Box<dyn Read + Send>, ApiError> {
        let request = self
            .streams()
            .get(self.url(path))
            .config()
            .timeout_per_read(Some(quiet))
            .timeout_connect(Some(PATIENCE))
            .build();
        // Compressed, the last event would wait in the server for the next one.
        let request = request.header("Accept-Encoding", "identity");
        let request = match self.header()? {
            Some(header) => request.header("Authorization", header),
            None => request,
        };
        let response = request.call().map_err(unreachable)?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        if status >= 300 {
            return Err(refusal(status, &body.with_config().limit(1 << 16).read_to_vec().unwrap_or_default()));
        }
        Ok(Box::new(body.into_with_config().limit(u64::MAX).reader()))
    }

    /// Changes something; gives the answer as JSON. `kind` is the content type: `application/json`,
    /// `application/merge-patch+json`, `application/strategic-merge-patch+json`.
    ///
    /// # Errors
    /// No answer, a refusal, or no JSON.
    pub fn send(&self, verb: Verb, path: &str, kind: &str, body: &Value) -> Result<Value, ApiError> {
        let url = self.url(path);
        let header = self.header()?;
        let text = body.to_string();
        let agent = self.agent();
        let request = match verb {
            Verb::Post => agent.post(url),
            Verb::Put => agent.put(url),
            Verb::Patch => agent.patch(url),
            // The options of a deletion stand in its body, which ureq must be asked for.
            Verb::Delete => agent.delete(url).force_send_body(),
        };
        let request = request.config().timeout_global(Some(PATIENCE)).build().header("Content-Type", kind);
        let request = match header {
            Some(header) => request.header("Authorization", header),
            None => request,
        };
        parsed(&whole(request.send(text.as_bytes()))?)
    }

    /// Ends all streams, so that threads that wait for an event return, and lets none begin. Requests still go.
    pub fn end_streams(&self) {
        self.streams().shutdown();
    }

    /// Whether the account is that of the pod that the recorder runs in.
    pub fn is_in_pod(&self) -> bool {
        self.access.in_pod
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.access.server)
    }

    fn agent(&self) -> Agent {
        self.agent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn streams(&self) -> Agent {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn header(&self) -> Result<Option<String>, ApiError> {
        self.authorization().map_err(ApiError::Unreachable)
    }

    fn authorization(&self) -> Result<Option<String>, String> {
        let bearer = |token: &str| Some(format!("Bearer {}", token.trim()));
        match &self.access.credential {
            Credential::None => Ok(None),
            Credential::Token(token) => Ok(bearer(token)),
            Credential::Basic(name, word) => Ok(Some(format!("Basic {}", STANDARD.encode(format!("{name}:{word}"))))),
            Credential::TokenFile(path) => self.kept(
                |read, _| read.elapsed() > TOKEN_AGE,
                || {
                    let token =
                        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
                    Ok(Given { token: Some(token), ..Given::default() })
                },
            ),
            Credential::Plugin(plugin) => self.kept(
                |_, given| given.expires.is_some_and(|end| Moment::now().realtime > end - 15_000_000_000),
                || plugin.ask(),
            ),
        }
    }

    /// The token that is kept, renewed where it is `old`. A renewed certificate makes a new agent.
    fn kept(
        &self,
        old: impl Fn(&Instant, &Given) -> bool,
        renew: impl Fn() -> Result<Given, String>,
    ) -> Result<Option<String>, String> {
        let mut kept = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|(read, given)| old(read, given)) {
            match renew() {
                Ok(fresh) => {
                    if fresh.certificate.is_some() && kept.is_some() {
                        for held in [&self.agent, &self.streams] {
                            let renewed = agent(&self.access, fresh.certificate.as_ref())?;
                            *held.lock().unwrap_or_else(PoisonError::into_inner) = renewed;
                        }
                    }
                    *kept = Some((Instant::now(), fresh));
                }
                // The old one may still do; if not, the server says so.
                Err(error) if kept.is_none() => return Err(error),
                Err(_) => {}
            }
        }
        let token = kept.as_ref().and_then(|(_, given)| given.token.as_deref());
        Ok(token.map(|token| format!("Bearer {}", token.trim())))
    }
}

fn agent(access: &Access, certificate: Option<&(Vec<u8>, Vec<u8>)>) -> Result<Agent, String> {
    let mut tls = TlsConfig::builder().disable_verification(access.insecure);
    let bundle = match &access.ca {
        Some(pem) => Some(pem.clone()),
        None => SYSTEM_CA.iter().find_map(|path| std::fs::read(path).ok()),
    };
    if let Some(pem) = bundle {
        let roots = certificates(&pem).ok_or("certificate-authority: expected certificates in PEM")?;
        tls = tls.root_certs(RootCerts::Specific(Arc::new(roots)));
    }
    if let Some((chain, key)) = certificate {
        let chain = certificates(chain).ok_or("client-certificate: expected certificates in PEM")?;
        let key = PrivateKey::from_pem(key).map_err(|_| "client-key: expected a private key in PEM")?;
        fits(&chain, &key)?;
        tls = tls.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
    }
    let proxy = access.proxy.clone().or_else(|| proxies::of_environment(&access.server));
    let proxy = match proxy {
        Some(url) if url.starts_with("socks") => {
            return Err("a SOCKS proxy is not supported: use one of HTTP".to_owned());
        }
        // The URL may hold a password.
        Some(url) => Some(ureq::Proxy::new(&url).map_err(|_| "the proxy: expected http://HOST:PORT")?),
        None => None,
    };
    let config = Agent::config_builder()
        .tls_config(tls.build())
        .proxy(proxy)
        .http_status_as_error(false)
        .max_redirects(0)
        .no_delay(true)
        .user_agent(concat!("syncline-collector/", env!("CARGO_PKG_VERSION")))
        .max_idle_connections_per_host(8)
        .build();
    Ok(Agent::with_parts(config, DefaultConnector::default(), Remembering::default()))
}

fn certificates(pem: &[u8]) -> Option<Vec<Certificate<'static>>> {
    let found: Vec<_> = ureq::tls::parse_pem(pem)
        .filter_map(|item| match item {
            Ok(ureq::tls::PemItem::Certificate(one)) => Some(one),
            _ => None,
        })
        .collect();
    (!found.is_empty()).then_some(found)
}

/// Whether a certificate and a key belong together: ureq takes it for granted.
fn fits(chain: &[Certificate<'static>], key: &PrivateKey<'static>) -> Result<(), String> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = chain.iter().map(|one| CertificateDer::from(one.der().to_vec())).collect();
    let key = PrivateKeyDer::try_from(key.der().to_vec()).map_err(|_| "client-key: of no known kind")?;
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_client_auth_cert(chain, key)
        .map(drop)
        .map_err(|error| format!("client-certificate and client-key: {error}"))
}

fn unreachable(error: ureq::Error) -> ApiError {
    ApiError::Unreachable(match error {
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    })
}

fn whole(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Vec<u8>, ApiError> {
    let response = answer.map_err(unreachable)?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let text = body.with_config().limit(LONGEST).read_to_vec().map_err(unreachable)?;
    if status >= 300 { Err(refusal(status, &text)) } else { Ok(text) }
}

fn parsed(text: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(text).map_err(|error| ApiError::Malformed(error.to_string()))
}

/// An object `Status`, or whatever stands in its place.
fn refusal(code: u16, text: &[u8]) -> ApiError {
    let value: Value = serde_json::from_slice(text).unwrap_or_default();
    let field = |name: &str| value[name].as_str().map(str::to_owned);
    let plain = || String::from_utf8_lossy(text).trim().chars().take(200).collect();
    ApiError::Status {
        code,
        reason: field("reason").unwrap_or_default(),
        message: field("message").unwrap_or_else(plain),
    }
}

/// Text for the value of a query in a path: what may not stand there as `%XX`.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// An error of reading a stream, in words.
pub fn broke_off(error: &io::Error) -> String {
    format!("the connection broke off: {error}")
}

/// Whether a stream ended since nothing came for as long as [`Api::stream`] was told.
pub fn was_silent(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    matches!(inner, Some(ureq::Error::Timeout(_)))
}
