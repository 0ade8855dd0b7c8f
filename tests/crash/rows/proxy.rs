//! Between the daemon and the exchange's REST side: passes bytes on, until it does something worse.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Interference with the creates that pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Only so many bytes of the request reach the venue; then both ends are closed.
    CutRequest(usize),
    /// The request reaches the venue; after so many bytes of its answer both ends are closed.
    CutAnswer(usize),
    /// The answer comes one byte at a time, this far apart.
    Trickle(Duration),
}

/// A proxy in front of `target`. It does its deed to the n-th create once armed, and counts what it
/// saw.
#[derive(Clone)]
pub struct Proxy {
    pub url: String,
    pub armed: Arc<AtomicBool>,
    pub done: Arc<AtomicUsize>,
}

impl Proxy {
    pub fn start(target: &str, deed: Deed) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let proxy = Self {
            url,
            armed: Arc::default(),
            done: Arc::default(),
        };
        let (target, of) = (
            target.trim_start_matches("http://").to_owned(),
            proxy.clone(),
        );
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (target, proxy) = (target.clone(), of.clone());
                std::thread::spawn(move || proxy.serve(client, &target, deed));
            }
        });
        proxy
    }

    fn serve(&self, mut client: TcpStream, target: &str, deed: Deed) {
        let Ok(mut venue) = TcpStream::connect(target) else {
            return;
        };
        let mut first = vec![0u8; 65536];
        let Ok(n) = client.read(&mut first) else {
            return;
        };
        first.truncate(n);
        let create = first.starts_with(b"POST /api/v5/trade/order ");
        let strikes = create && self.armed.swap(false, Ordering::SeqCst);
        if let (true, Deed::CutRequest(bytes)) = (strikes, deed) {
            drop(venue.write_all(&first[..bytes.min(n)]));
            self.done.fetch_add(1, Ordering::SeqCst);
            drop(venue.shutdown(Shutdown::Both));
            drop(client.shutdown(Shutdown::Both));
            return;
        }
        if venue.write_all(&first).is_err() {
            return;
        }
        let (mut up_from, mut up_to) = (client.try_clone().unwrap(), venue.try_clone().unwrap());
        std::thread::spawn(move || {
            drop(std::io::copy(&mut up_from, &mut up_to));
            drop(up_to.shutdown(Shutdown::Write));
        });
        match (strikes, deed) {
            (true, Deed::CutAnswer(bytes)) => {
                let mut answer = vec![0u8; bytes.max(1)];
                let n = venue.read(&mut answer).unwrap_or(0);
                drop(client.write_all(&answer[..n.min(bytes)]));
                self.done.fetch_add(1, Ordering::SeqCst);
            }
            (true, Deed::Trickle(pause)) => {
                self.done.fetch_add(1, Ordering::SeqCst);
                let mut byte = [0u8; 1];
                while venue.read(&mut byte).is_ok_and(|n| n == 1) && client.write_all(&byte).is_ok()
                {
                    std::thread::sleep(pause);
                }
            }
            _ => drop(std::io::copy(&mut venue, &mut client)),
        }
        drop(venue.shutdown(Shutdown::Both));
        drop(client.shutdown(Shutdown::Both));
    }
}
