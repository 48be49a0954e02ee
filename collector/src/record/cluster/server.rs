//! A server for tests that speaks just enough HTTP: what it answers is a function of the request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What it was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// With its query.
    pub path: String,
    pub authorization: Option<String>,
    pub body: String,
}

/// What it answers.
pub enum Answer {
    /// Status and body.
    Text(u16, String),
    /// Lines of a stream that ends in order.
    Lines(Vec<String>),
    /// Text of a stream that breaks off behind it, without its end.
    Broken(String),
    /// Text of a stream that stays open, silent.
    Open(String),
}

pub struct Server {
    pub url: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Starts one; its threads end with the tests.
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, all) = (Arc::new(answer), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, all) = (Arc::clone(&answer), Arc::clone(&all));
                std::thread::spawn(move || serve(stream, &*answer, &all));
            }
        });
        Self { url, seen }
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("the requests").clone()
    }
}

fn serve(stream: TcpStream, answer: &(dyn Fn(&Request) -> Answer + Sync), all: &Mutex<Vec<Request>>) {
    let Ok(mut out) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        all.lock().expect("the requests").push(request.clone());
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk =
            |text: &str| if text.is_empty() { String::new() } else { format!("{:x}\r\n{text}\r\n", text.len()) };
        match answer(&request) {
            Answer::Text(status, body) => {
                let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                if out.write_all(text.as_bytes()).is_err() {
                    return;
                }
            }
            Answer::Lines(lines) => {
                let text: String = lines.iter().map(|line| chunk(&format!("{line}\n"))).collect();
                if out.write_all(format!("{head}{text}0\r\n\r\n").as_bytes()).is_err() {
                    return;
                }
            }
            Answer::Broken(text) => {
                let _ = out.write_all(format!("{head}{}", chunk(&text)).as_bytes());
                let _ = out.shutdown(std::net::Shutdown::Both);
                return;
            }
            Answer::Open(text) => {
                let _ = out.write_all(format!("{head}{}", chunk(&text)).as_bytes());
                // Until the client goes.
                let _ = reader.read(&mut [0]);
                return;
            }
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "authorization" => authorization = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, authorization, body: String::from_utf8_lossy(&body).into_owned() })
}
