//! `syncline serve`, started for a test, and requests of HTTP/1.0 to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Longest that a test waits for an answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server, ended when dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer: status, head, body.
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}{}", self.head, self.body))
    }
}

/// Sends a whole request of HTTP/1.0, after which the server closes.
pub fn ask(address: SocketAddr, request: &str, body: &str) -> Option<Reply> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", body.len())
    };
    // A server that refuses early closes while this is still being sent.
    let _ = stream.write_all(format!("{request}{length}\r\n{body}").as_bytes());
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let text = String::from_utf8_lossy(&all).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Reply { status, head: head.to_owned(), body: body.to_owned() })
}

pub fn get(address: SocketAddr, url: &str) -> Reply {
    ask(address, &format!("GET {url} HTTP/1.0\r\n"), "").unwrap_or_else(|| panic!("no answer to {url}"))
}

impl Server {
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_syncline"))
            .arg("serve")
            .args(arguments)
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("syncline starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok());
        let address = address.unwrap_or_else(|| panic!("an address in {line:?}"));
        Self { child, address }
    }

    pub fn get(&self, url: &str) -> Reply {
        get(self.address, url)
    }

    pub fn data(&self, url: &str) -> Value {
        let reply = self.get(url);
        assert_eq!(reply.status, 200, "{url}: {}", reply.body);
        reply.json()["data"].clone()
    }
}
