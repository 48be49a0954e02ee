//! Addresses of servers, kept for a while: ureq asks for them with every request, in a thread of its own, even where a connection is open.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// How long addresses are kept: a server that moves is found again within that.
const AGE: Duration = Duration::from_secs(30);
/// Servers that are remembered.
const MOST: usize = 16;

/// Scheme, name and port; its addresses, and when they were asked for.
type Known = (String, Vec<SocketAddr>, Instant);

/// ureq's own resolver with a memory.
#[derive(Debug, Default)]
pub struct Remembering {
    inner: DefaultResolver,
    known: Mutex<Vec<Known>>,
}

impl Resolver for Remembering {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let server =
            format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |it| it.as_str()));
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, addresses, _)) =
            known().iter().find(|(name, _, asked)| *name == server && asked.elapsed() < AGE)
        {
            let mut found = self.empty();
            addresses.iter().for_each(|address| found.push(*address));
            return Ok(found);
        }
        let found = self.inner.resolve(uri, config, timeout)?;
        let mut known = known();
        known.retain(|(name, _, asked)| *name != server && asked.elapsed() < AGE);
        if known.len() < MOST {
            known.push((server, found.to_vec(), Instant::now()));
        }
        Ok(found)
    }
}
