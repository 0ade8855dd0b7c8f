//! A chat endpoint as tests need one: OpenAI's dialect over plain HTTP, each answer as told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// Answers of the model server.
pub enum Say {
    /// A body with a status, and headers beside it.
    Http(u16, &'static str, Vec<u8>),
    /// The same after a while.
    Slow(Duration, Vec<u8>),
    /// No answer, ever.
    Hang,
    /// The connection is cut.
    Cut,
}

impl Say {
    /// A completion with this text.
    pub fn text(text: impl Into<String>) -> Self {
        Say::Http(200, "", completion(text))
    }
}

/// A completion's body with this text.
pub fn completion(text: impl Into<String>) -> Vec<u8> {
    json!({"id": "c", "model": "stub-1", "system_fingerprint": "fp_1",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text.into()}}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100}})
    .to_string()
    .into_bytes()
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub head: String,
    pub body: Value,
}

impl Asked {
    /// The data of the prompt.
    pub fn data(&self) -> Value {
        let user = self.body["messages"][1]["content"].as_str().unwrap();
        serde_json::from_str(user.split_once("DATA\n").unwrap().1).unwrap()
    }
    /// Returns the format in which JSON was asked for.
    pub fn format(&self) -> String {
        self.body["response_format"]["type"]
            .as_str()
            .unwrap_or("none")
            .to_owned()
    }
}

pub struct ModelServer {
    pub url: String,
    pub asked: Arc<Mutex<Vec<Asked>>>,
}

impl ModelServer {
    /// Starts one; `answer` is told how many requests came before, and the request.
    pub fn start(answer: impl Fn(usize, &Asked) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || serve(socket, &seen, &*answer));
            }
        });
        Self { url, asked }
    }

    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    pub fn all(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    mut socket: TcpStream,
    seen: &Mutex<Vec<Asked>>,
    answer: &(dyn Fn(usize, &Asked) -> Say + Send + Sync),
) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    loop {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line == "\r\n" => break,
                Ok(_) => head.push_str(&line),
            }
        }
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length:")?
                    .trim()
                    .parse()
                    .ok()
            })
            .unwrap_or(0);
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let asked = Asked {
            head,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        };
        let before = {
            let mut seen = seen.lock().unwrap();
            seen.push(asked.clone());
            seen.len() - 1
        };
        let (status, headers, body) = match answer(before, &asked) {
            Say::Http(status, headers, body) => (status, headers, body),
            Say::Slow(wait, body) => {
                std::thread::sleep(wait);
                (200, "", body)
            }
            Say::Hang => {
                std::thread::sleep(Duration::from_secs(120));
                return;
            }
            Say::Cut => return,
        };
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        if socket
            .write_all(head.as_bytes())
            .and_then(|()| socket.write_all(&body))
            .is_err()
        {
            return;
        }
    }
}
