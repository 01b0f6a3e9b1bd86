//! A link that can be cut.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Hands bytes on in both directions, until so many went to the target; then both ends are closed.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    passed: Arc<AtomicU64>,
}

impl Proxy {
    /// To `target`; each connection is cut after `cut` bytes, the first of them, the others never.
    pub(crate) fn cut_once(target: SocketAddr, cut: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let passed = Arc::new(AtomicU64::new(0));
        let counted = passed.clone();
        thread::spawn(move || {
            for (number, from) in listener.incoming().map_while(Result::ok).enumerate() {
                let Ok(to) = TcpStream::connect(target) else { return };
                let limit = if number == 0 { cut } else { u64::MAX };
                let (back_from, back_to) = (to.try_clone().unwrap(), from.try_clone().unwrap());
                let counted = counted.clone();
                thread::spawn(move || hand_on(from, to, limit, &counted));
                thread::spawn(move || hand_on(back_from, back_to, u64::MAX, &AtomicU64::new(0)));
            }
        });
        Self { address, passed }
    }

    /// Bytes that went to the target, encryption counted.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, limit: u64, passed: &AtomicU64) {
    let (mut buffer, mut done) = (vec![0; 64 << 10], 0);
    while done < limit {
        let Ok(read @ 1..) = from.read(&mut buffer) else { break };
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
        done += read as u64;
        passed.fetch_add(read as u64, Ordering::Relaxed);
    }
    let _gone = to.shutdown(std::net::Shutdown::Both);
    let _gone = from.shutdown(std::net::Shutdown::Both);
}
