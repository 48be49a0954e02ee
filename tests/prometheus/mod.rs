//! Debian's Prometheus on loopback over blocks, where it is installed.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// A server, ended when dropped.
pub struct Prometheus {
    process: Child,
    pub address: SocketAddr,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    /// Serves the blocks in `data` of a folder; says so where there is no Prometheus.
    pub fn over(folder: &Path) -> Option<Self> {
        Self::with(folder, "")
    }

    /// The same, with more in its configuration.
    pub fn with(folder: &Path, more: &str) -> Option<Self> {
        let there = Command::new("prometheus").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !there.is_ok_and(|status| status.success()) {
            eprintln!("skipped: no prometheus (apt-get install prometheus)");
            return None;
        }
        let config = format!("global: {{evaluation_interval: 1m}}\n{more}");
        fs::write(folder.join("prometheus.yml"), config).expect("written");
        let address = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let process = Command::new("prometheus")
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--storage.tsdb.retention.time=100y"])
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus starts");
        let server = Self { process, address };
        for _ in 0..1_200 {
            if server.get("/-/ready").is_some_and(|(status, _)| status == 200) {
                return Some(server);
            }
            sleep(Duration::from_millis(100));
        }
        panic!("prometheus did not become ready");
    }

    /// Status and body of a GET request.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }
}
