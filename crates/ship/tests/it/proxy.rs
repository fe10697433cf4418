//! A proxy that does one request of many harm.

use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::http::{Request, Response, Upstream};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends, and the store has not seen it.
    Lost,
    /// The store has done it, and the connection ends.
    AnswerLost,
    /// The same, in the middle of the answer.
    AnswerCut,
    /// The connection ends, and the store does it later: after the next request.
    Late,
    /// The store has not done it, and this is the answer.
    Status(u16),
    /// The store has done it, and this is the answer all the same.
    StatusAfter(u16),
    /// Somebody dies before the store sees it.
    KilledBefore,
    /// Somebody dies when the store has done it.
    KilledAfter,
}

impl Fault {
    pub const OF_NETWORK: [Fault; 12] = [
        Fault::Lost,
        Fault::AnswerLost,
        Fault::AnswerCut,
        Fault::Late,
        Fault::Status(409),
        Fault::Status(412),
        Fault::Status(429),
        Fault::Status(500),
        Fault::Status(503),
        Fault::Status(403),
        Fault::StatusAfter(500),
        Fault::StatusAfter(503),
    ];
}

/// What is done with the n-th request, counted from 0.
type Plan = dyn Fn(usize, &Request) -> Option<Fault> + Send + Sync;

pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    upstream: Arc<dyn Upstream>,
    plan: Mutex<Box<Plan>>,
    kill: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    seen: Mutex<Vec<String>>,
    late: Mutex<Vec<Request>>,
    is_over: AtomicBool,
}

impl Proxy {
    pub fn new(upstream: Arc<dyn Upstream>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            upstream,
            plan: Mutex::new(Box::new(|_, _| None)),
            kill: Mutex::new(None),
            seen: Mutex::new(Vec::new()),
            late: Mutex::new(Vec::new()),
            is_over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(stream));
            }
        });
        Proxy { address, state }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From the next request on, which counts as the first.
    pub fn plan(&self, plan: impl Fn(usize, &Request) -> Option<Fault> + Send + Sync + 'static) {
        self.state.seen.lock().unwrap().clear();
        self.state.late.lock().unwrap().clear();
        *self.state.plan.lock().unwrap() = Box::new(plan);
    }

    /// Whom the faults kill.
    pub fn on_kill(&self, kill: impl FnOnce() + Send + 'static) {
        *self.state.kill.lock().unwrap() = Some(Box::new(kill));
    }

    /// The requests since the plan.
    pub fn seen(&self) -> Vec<String> {
        self.state.seen.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

impl State {
    fn serve(&self, stream: TcpStream) {
        let Ok(mut writer) = stream.try_clone() else { return };
        let mut reader = BufReader::new(stream);
        while let Ok(Some(request)) = Request::read(&mut reader) {
            let (answer, goes_on) = self.deal_with(&request);
            if writer.write_all(&answer).is_err() || !goes_on {
                break;
            }
        }
        let _ = writer.shutdown(Shutdown::Both);
    }

    /// The bytes of the answer, and whether the connection goes on.
    fn deal_with(&self, request: &Request) -> (Vec<u8>, bool) {
        let fault = {
            let mut seen = self.seen.lock().unwrap();
            seen.push(format!("{} {}", request.method, request.target));
            (self.plan.lock().unwrap())(seen.len() - 1, request)
        };
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        let is_head = request.method == "HEAD";
        let done = || self.upstream.answer(request);
        let answer = match fault {
            None => Some(done().bytes(is_head)),
            Some(Fault::Lost) => None,
            Some(Fault::AnswerLost) => {
                done();
                None
            }
            Some(Fault::AnswerCut) => {
                let bytes = done().bytes(is_head);
                // What is cut is closed after it.
                let cut = Response::new(200, "").with("content-length", 1000).bytes(true);
                Some(if is_head { bytes[..bytes.len() / 2].to_vec() } else { cut })
            }
            Some(Fault::Late) => {
                self.late.lock().unwrap().push(request.clone());
                None
            }
            Some(Fault::Status(status)) => Some(error(status, "Planned").bytes(is_head)),
            Some(Fault::StatusAfter(status)) => {
                done();
                Some(error(status, "Planned").bytes(is_head))
            }
            Some(Fault::KilledBefore) => {
                self.kill();
                None
            }
            Some(Fault::KilledAfter) => {
                done();
                self.kill();
                None
            }
        };
        for request in late {
            self.upstream.answer(&request);
        }
        let goes_on = answer.is_some() && fault != Some(Fault::AnswerCut);
        (answer.unwrap_or_default(), goes_on)
    }

    fn kill(&self) {
        if let Some(kill) = self.kill.lock().unwrap().take() {
            kill();
        }
    }
}

/// With what a store repeats of the request: a key that must not be told.
pub fn error(status: u16, code: &str) -> Response {
    let key = "<AWSAccessKeyId>OPENSESAMEID</AWSAccessKeyId>";
    Response::new(status, format!("<Error><Code>{code}</Code>{key}</Error>"))
}
