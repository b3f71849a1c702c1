//! What the fake host holds: one plugin, its clock and clusters, and the exchange that is running.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::config::Problem;
use crate::grpc::GrpcError;
use crate::settle::{HOLD, PAUSE};
use crate::testing::{Answer, GrpcSent, LogLine, Message, Reply, Sent};

#[derive(Default)]
pub(crate) struct World(RefCell<State>);

impl World {
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.0.borrow_mut())
    }
}

type Functions = BTreeMap<String, Rc<dyn Fn(&[u8]) -> Option<Vec<u8>>>>;
type Answers = BTreeMap<String, Rc<dyn Fn(&Sent) -> Answer>>;
type GrpcAnswers = BTreeMap<String, Rc<dyn Fn(&GrpcSent) -> Result<Vec<u8>, GrpcError>>>;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) config: Vec<u8>,
    pub(crate) is_foreign: bool,
    pub(crate) properties: BTreeMap<String, Vec<u8>>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) now: u64,
    pub(crate) answers: Answers,
    pub(crate) grpc_answers: GrpcAnswers,
    pub(crate) functions: Functions,
    pub(crate) sent: Vec<Sent>,
    pub(crate) grpc_sent: Vec<GrpcSent>,
    pub(crate) callout_answer: (Vec<(String, String)>, Vec<u8>),
    pub(crate) grpc_answer: Vec<u8>,
    pub(crate) grpc_status: String,
    /// Kind and name of every metric; its id is its index.
    pub(crate) series: Vec<(u32, String)>,
    pub(crate) live: Live,
    pub(crate) values: BTreeMap<String, u64>,
    pub(crate) shared: BTreeMap<String, (Vec<u8>, u32)>,
    pub(crate) ids: u32,
    pub(crate) pending: Vec<(u32, Sent)>,
    pub(crate) grpc_pending: Vec<(u32, GrpcSent)>,
    pub(crate) timers: Vec<(u32, u64)>,
    pub(crate) fired: u32,
    pub(crate) tick: Option<(u64, u64)>,
    pub(crate) access_logs: u32,
    /// Tokens of a bucket, and when its last fill came.
    pub(crate) buckets: BTreeMap<Vec<u8>, (u64, u64)>,
    /// The last argument of `sidegate_span`.
    pub(crate) spans: Option<String>,
}

/// The exchange that is running.
#[derive(Clone, Default)]
pub(crate) struct Live {
    pub(crate) id: u32,
    /// The messages, with as much of their bodies as has come.
    pub(crate) request: Message,
    pub(crate) response: Message,
    pub(crate) request_window: Window,
    pub(crate) response_window: Window,
    /// Properties the test gave and the filter set.
    pub(crate) given: BTreeMap<String, Vec<u8>>,
    pub(crate) set: BTreeMap<String, Vec<u8>>,
    pub(crate) reply: Option<Reply>,
    pub(crate) request_continued: bool,
    pub(crate) response_continued: bool,
    pub(crate) is_over: bool,
    pub(crate) access_logs: Vec<u32>,
    pub(crate) is_open: bool,
    pub(crate) has_response: bool,
}

/// Which part of a body hostcalls reach.
#[derive(Clone, Copy, Default)]
pub(crate) struct Window {
    /// Where that begins.
    pub(crate) start: usize,
    /// The next hook shows what came before its piece too.
    is_collecting: bool,
}

impl Live {
    /// The body of one direction, and what of it is shown.
    pub(crate) fn body(&mut self, is_request: bool) -> (&mut Vec<u8>, &mut Window) {
        if is_request {
            (&mut self.request.body, &mut self.request_window)
        } else {
            (&mut self.response.body, &mut self.response_window)
        }
    }
}

impl State {
    /// A piece comes; returns how many bytes its hook shows.
    pub(crate) fn show(&mut self, is_request: bool, piece: &[u8]) -> usize {
        let (body, window) = self.live.body(is_request);
        window.start = if window.is_collecting { 0 } else { body.len() };
        body.extend_from_slice(piece);
        body.len() - window.start
    }

    /// The hook of a piece has answered so.
    pub(crate) fn shown(&mut self, is_request: bool, action: u32) {
        let is_foreign = self.is_foreign;
        let (body, window) = self.live.body(is_request);
        window.is_collecting = action == PAUSE;
        // Envoy shows its callbacks a body only while it collects it; we show what is held.
        window.start = if is_foreign && action == HOLD { body.len() } else { 0 };
    }

    pub(crate) fn open(&mut self, request: Message, live: Live) -> u32 {
        self.ids += 1;
        let id = self.ids + 100;
        self.live = Live { id, request, is_open: true, ..live };
        id
    }

    pub(crate) fn respond(&mut self, response: Message) {
        self.live.response = response;
        self.live.has_response = true;
    }

    pub(crate) fn metric(&self, series: &str) -> Option<u64> {
        self.values.get(series).copied()
    }

    pub(crate) fn next_timer(&self) -> Option<u64> {
        let timer = self.timers.iter().map(|(_, due)| *due).min();
        timer.into_iter().chain(self.tick.map(|(_, due)| due)).min()
    }

    pub(crate) fn next_due(&self) -> Option<u64> {
        self.next_timer()
    }

    /// Takes a timer that is due.
    pub(crate) fn take_timer(&mut self) -> bool {
        let Some(index) = self.timers.iter().position(|(_, due)| *due <= self.now) else { return false };
        self.fired = self.timers.swap_remove(index).0;
        true
    }

    /// Takes a tick that is due.
    pub(crate) fn take_tick(&mut self) -> bool {
        let now = self.now;
        match &mut self.tick {
            Some((period, due)) if *due <= now => {
                *due = now + *period;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn take_callout(&mut self) -> Option<(u32, Sent)> {
        (!self.pending.is_empty()).then(|| self.pending.remove(0))
    }

    pub(crate) fn take_grpc_callout(&mut self) -> Option<(u32, GrpcSent)> {
        (!self.grpc_pending.is_empty()).then(|| self.grpc_pending.remove(0))
    }

    pub(crate) fn map(&mut self, map: u32) -> Option<&mut Vec<(String, String)>> {
        match map {
            0 if self.live.is_open && (!self.live.has_response || self.live.is_over) => {
                Some(&mut self.live.request.headers)
            }
            2 if self.live.has_response => Some(&mut self.live.response.headers),
            6 => Some(&mut self.callout_answer.0),
            _ => None,
        }
    }

    pub(crate) fn property(&self, path: &str) -> Option<Vec<u8>> {
        let own = self.live.given.get(path).or_else(|| self.live.set.get(path)).or_else(|| self.properties.get(path));
        if let Some(value) = own {
            return Some(value.clone());
        }
        let live = &self.live;
        if let Some(name) = path.strip_prefix("request\0headers\0") {
            let values = live.request.all(name);
            return (!values.is_empty()).then(|| values.join(",").into_bytes());
        }
        let header = |name: &str| live.request.header(name).map(|value| value.as_bytes().to_vec());
        match path {
            "request\0path" => header(":path"),
            "request\0method" => header(":method"),
            "request\0host" => header(":authority"),
            "request\0scheme" => header(":scheme"),
            "request\0protocol" => Some(b"HTTP/1.1".to_vec()),
            "request\0duration" if live.is_over => Some(1_500_000_i64.to_le_bytes().to_vec()),
            "response\0code" if live.has_response => {
                let code = live.response.header(":status").and_then(|status| status.parse::<i64>().ok())?;
                Some(code.to_le_bytes().to_vec())
            }
            "response\0flags" if live.is_over => Some(0_i64.to_le_bytes().to_vec()),
            _ => None,
        }
    }
}
