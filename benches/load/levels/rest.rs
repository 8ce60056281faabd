//! A client of Parse Server's REST interface, over one connection that is kept.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};

use super::act::Act;
use super::{Client, OBJECTS};

/// The longest answer that is taken, bytes.
const ANSWER_MAX: usize = 1 << 20;

/// One user of a class.
pub struct Rest {
    stream: BufReader<TcpStream>,
    class: &'static str,
    /// The objects that GET and PUT choose among.
    objects: std::sync::Arc<Vec<String>>,
    score: u64,
}

impl Rest {
    /// Connects.
    pub fn open(
        server: SocketAddr,
        class: &'static str,
        objects: std::sync::Arc<Vec<String>>,
    ) -> Result<Rest> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        Ok(Rest { stream: BufReader::new(stream), class, objects, score: 0 })
    }

    /// Makes the objects, and says what they are called.
    pub fn load(server: SocketAddr, class: &'static str) -> Result<Vec<String>> {
        let mut rest = Rest::open(server, class, Default::default())?;
        (0..OBJECTS).map(|_| rest.post()).collect()
    }

    fn post(&mut self) -> Result<String> {
        let padding = "x".repeat(crate::workload::PADDING);
        let made = self.ask("POST", "", &format!(r#"{{"score":0,"padding":"{padding}"}}"#))?;
        text_of(&made, "objectId").map(str::to_owned).with_context(|| format!("POST: {made}"))
    }

    fn ask(&mut self, method: &str, id: &str, body: &str) -> Result<String> {
        let path = format!("/parse/classes/{}{}{id}", self.class, if id.is_empty() { "" } else { "/" });
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Parse-Application-Id: bench\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?;
        let mut length = 0;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        ensure!(length <= ANSWER_MAX, "an answer of {length} bytes");
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        let answer = String::from_utf8(answer)?;
        ensure!(status.contains(" 20"), "{method} {path}: {status}: {answer}");
        Ok(answer)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line)? > 0, "Parse Server closed the connection");
        Ok(line.trim_end().to_owned())
    }
}

/// The text under `key`, which has no quotes in it.
fn text_of<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let (_, behind) = json.split_once(&format!("\"{key}\":\""))?;
    behind.split_once('"').map(|(text, _)| text)
}

impl Client for Rest {
    fn act(&mut self, act: Act, number: u64) -> Result<()> {
        let objects = self.objects.clone();
        let id = || objects.get(number as usize % objects.len().max(1)).context("no objects");
        match act {
            Act::Get => {
                let found = self.ask("GET", id()?, "")?;
                ensure!(text_of(&found, "objectId") == Some(id()?), "mixed up: asked {}, got {found}", id()?);
            }
            Act::Put => {
                self.score += 1;
                self.ask("PUT", id()?, &format!(r#"{{"score":{}}}"#, self.score))?;
            }
            Act::PostDelete => {
                let made = self.post()?;
                self.ask("DELETE", &made, "")?;
            }
        }
        Ok(())
    }
}
