//! A plain HTTP client for tests: one request a connection, as bytes, so that wrong ones can be sent too.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tests::servers::wait_until;

use crate::harness::Fleet;

/// Longest wait for bytes of an answer.
/// Longest wait for an answer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// `rollcall serve`, killed when dropped.
pub struct Server {
    child: Child,
    pub address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The code of a problem document.
    pub fn code(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        assert_eq!(self.json()["status"], self.status);
        self.json()["code"].as_str().unwrap().to_owned()
    }
}

impl Server {
    /// Starts it with these flags and variables, at a port that the system chooses.
    pub fn start(fleet: &Fleet, flags: &str, variables: &[(&str, &str)]) -> Self {
        let mut command: Command =
            fleet.command(&format!("serve --listen 127.0.0.1:0 --log-format json {flags}"));
        let mut child = command.envs(variables.iter().copied()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.find(|line| line.as_ref().unwrap().contains("listening")).unwrap().unwrap();
        // Whatever follows has to be read, else the program would wait for its reader.
        std::thread::spawn(move || lines.count());
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        Self { child, address: value["fields"]["address"].as_str().unwrap().to_owned() }
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its exit code after SIGTERM; `None` when it does not end in time.
    pub fn told_to_stop(&mut self, within: Duration) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        wait_until(within, || !self.is_alive());
        self.child.try_wait().unwrap()?.code()
    }

    /// Tells it to stop and does not wait.
    pub fn tell_to_stop(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A connection that gives up on silence.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends these bytes and reads until the other side closes.
    pub fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        // The answer may come, and the connection go, before all is sent.
        let _ = stream.write_all(request);
        read(stream)
    }

    /// One request with headers and a body.
    pub fn ask(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        self.raw(&[request.as_bytes(), body].concat())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], b"")
    }

    /// Submits JSON.
    pub fn submit(&self, job: &serde_json::Value) -> Answer {
        self.ask("POST /v1/jobs", &[("Content-Type", "application/json")], job.to_string().as_bytes())
    }

    /// Submits a form: name, file name, content of each part.
    pub fn submit_form(&self, parts: &[(&str, Option<&str>, &[u8])], headers: &[(&str, &str)]) -> Answer {
        let mut all = vec![("Content-Type", "multipart/form-data; boundary=b")];
        all.extend(headers);
        self.ask("POST /v1/jobs", &all, &form(parts))
    }
}

/// A form's body with the boundary `b`.
pub fn form(parts: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, content) in parts {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        let head = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    body
}

/// Reads an answer to its end.
pub fn read(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        // A connection may be reset after its answer, when not all of a request was read.
        assert!(!bytes.is_empty(), "no answer: {error}");
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(&bytes)));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let pairs = lines.map(|line| line.split_once(": ").unwrap());
    let headers: BTreeMap<_, _> =
        pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let mut body = bytes.split_off(end + 4);
    if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        body = whole(&body);
    }
    Answer { status, headers, body }
}

/// The bytes of a body in chunks, as far as they came.
fn whole(mut chunked: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = chunked.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&chunked[..end]).unwrap(), 16).unwrap();
        let from = end + 2;
        if size == 0 || chunked.len() < from + size + 2 {
            break;
        }
        body.extend_from_slice(&chunked[from..from + size]);
        chunked = &chunked[from + size + 2..];
    }
    body
}
