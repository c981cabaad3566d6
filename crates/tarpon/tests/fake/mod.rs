//! A daemon that answers from a script: the command line is tested against the protocol's own types.

use api::{Command, Error, ErrorCode, Item, LineBuffer, Reply, Request};
use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

/// What the daemon does with a request.
pub enum Act {
    Answer(Vec<Item>, Result<Reply, Error>),
    /// Sends the items, waits until the client closes its side, then sends the end.
    UntilClosed(Vec<Item>, Reply),
    /// Closes the connection.
    HangUp,
    /// Sends these bytes and closes.
    Raw(&'static [u8]),
}

pub struct Daemon {
    pub socket: PathBuf,
    directory: PathBuf,
    pub seen: Arc<Mutex<Vec<Command>>>,
}

impl Daemon {
    /// Listens in a directory of its own; `act` decides on each request.
    pub fn start(act: impl Fn(&Command) -> Act + Send + Sync + 'static) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("tarpon-cli-{}-{number}", process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let socket = directory.join("control.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let act = Arc::new(act);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (act, record) = (Arc::clone(&act), Arc::clone(&record));
                thread::spawn(move || serve(stream, &*act, &record));
            }
        });
        Self {
            socket,
            directory,
            seen,
        }
    }

    /// The command line's own commands, without what it looked up first.
    pub fn last(&self) -> Command {
        self.seen
            .lock()
            .unwrap()
            .last()
            .cloned()
            .expect("a command came")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn serve(mut stream: UnixStream, act: &dyn Fn(&Command) -> Act, seen: &Mutex<Vec<Command>>) {
    let mut lines = LineBuffer::new(api::MAX_REQUEST_LINE);
    let mut chunk = [0; 4096];
    loop {
        while let Some(line) = lines.next_line().unwrap() {
            let request = match Request::decode(&line) {
                Ok(request) => request,
                Err(refused) => {
                    stream
                        .write_all(&api::encode_error(refused.id, &refused.error))
                        .unwrap();
                    continue;
                }
            };
            seen.lock().unwrap().push(request.command.clone());
            let id = request.id;
            let mut send = |items: Vec<Item>| {
                for item in items {
                    stream.write_all(&api::encode_item(id, &item)).unwrap();
                }
            };
            match act(&request.command) {
                Act::Answer(items, end) => {
                    send(items);
                    let end = match end {
                        Ok(reply) => api::encode_ok(id, &reply),
                        Err(error) => api::encode_error(id, &error),
                    };
                    stream.write_all(&end).unwrap();
                }
                Act::UntilClosed(items, end) => {
                    send(items);
                    while stream.read(&mut chunk).unwrap_or(0) > 0 {}
                    stream.write_all(&api::encode_ok(id, &end)).unwrap();
                    return;
                }
                Act::HangUp => return,
                Act::Raw(bytes) => {
                    stream.write_all(bytes).unwrap();
                    return;
                }
            }
        }
        match stream.read(&mut chunk) {
            Ok(n) if n > 0 => lines.push(&chunk[..n]),
            _ => return,
        }
    }
}

/// An answer without items.
pub fn ok(reply: Reply) -> Act {
    Act::Answer(Vec::new(), Ok(reply))
}

pub fn refuse(code: ErrorCode, message: &str, details: &[&str]) -> Act {
    let details = details.iter().map(|d| (*d).to_owned()).collect();
    Act::Answer(
        Vec::new(),
        Err(Error::new(code, message).with_details(details)),
    )
}
