//! The control thread: one queue of changes, carried out one after the other.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant, SystemTime};

use sidegate_config::{Problems, Source};

use super::change::{Answer, Change, Inbox, Order, Refused, Signal};
use super::files::Files;
use super::update::{Committed, Failure, Outcome, Updater};

/// How often a running rollout is judged.
const JUDGE: Duration = Duration::from_millis(100);

/// Who is told what became of changes.
pub trait Observer: Send {
    fn committed(&self, committed: &Committed);
    fn refused(&self, problems: &Problems);
}

/// The control thread's state.
pub struct Control<O> {
    pub updater: Updater,
    pub inbox: Inbox,
    pub files: Files,
    pub observer: O,
    /// Orders that wait for URLs, or for code: each keeps its place, so that there are only so many.
    pub waiting: Vec<Waiting>,
    /// There was news of these, and files were not looked at since.
    pub news: bool,
}

/// An order that is carried out when what it needs is there.
pub struct Waiting {
    order: Order,
    /// The number of its configuration, if it is one.
    offer: Option<u64>,
}

impl<O: Observer> Control<O> {
    /// Serves these texts first. The error is for people.
    pub fn begin(&mut self, texts: &[Source]) -> Result<(), String> {
        match self.updater.begin(texts) {
            Ok(Outcome::Committed(committed, _)) => self.observer.committed(&committed),
            Ok(Outcome::Nothing(_) | Outcome::Waits) => {}
            Err(Failure::Problems(problems)) => return Err(problems.to_string()),
            Err(Failure::Refused(refused)) => return Err(refused.to_string()),
        }
        Ok(())
    }

    /// What was begun with is an earlier configuration, because the files have these problems.
    pub fn served_in_place_of(&self, problems: &Problems) {
        for problem in problems.iter() {
            tracing::error!("{problem}");
        }
        tracing::error!("the configuration cannot be loaded: the last good one serves");
        self.observer.refused(problems);
    }

    /// Carries out changes until nobody can ask for any.
    pub fn run(mut self, begun: SystemTime) {
        self.files.begin(self.updater.files(), begun);
        loop {
            while let Some(step) = self.updater.due() {
                if !matches!(self.apply(&step), Some(Ok(_))) {
                    self.updater.step_failed(&step);
                }
            }
            let pause = self.files.pause();
            let pause = if self.updater.is_rolling_out() { pause.min(JUDGE) } else { pause };
            match self.inbox.queue.recv_timeout(pause) {
                Ok(Signal::Order(mut order)) => {
                    self.updater.meet(&mut order.change);
                    self.order(*order);
                    self.give_up_waiting();
                }
                Ok(Signal::Look) => {
                    self.inbox.looked();
                    self.look();
                }
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.updater.sweep();
        }
    }

    /// Looks whether files have changed, or what somebody waits for is there.
    fn look(&mut self) {
        let arrived = self.updater.take_news();
        self.news |= arrived;
        let changed = self.files.have_changed(Instant::now());
        if changed && self.updater.is_unsettled() {
            self.files.look_again();
        } else if changed || std::mem::take(&mut self.news) {
            let _ = self.apply(&Change::Sources);
            self.files.follow(self.updater.files());
        }
        if arrived {
            for waiting in std::mem::take(&mut self.waiting) {
                // What sources say may have changed while it waited: that is later than what has taken effect now.
                self.news |= self.order(waiting.order);
            }
        }
        self.give_up_waiting();
    }

    /// Carries out an order, or has it wait; whether it took effect.
    fn order(&mut self, order: Order) -> bool {
        let outcome = self.apply(&order.change);
        self.files.follow(self.updater.files());
        match outcome {
            Some(outcome) => {
                let took_effect = outcome.is_ok();
                order.answer(outcome);
                took_effect
            }
            None => {
                let offer = matches!(order.change, Change::Config { .. }).then(|| self.updater.latest_offer());
                self.waiting.push(Waiting { order, offer });
                false
            }
        }
    }

    /// A configuration that waited gives way to a later one that serves, or waits itself.
    fn give_up_waiting(&mut self) {
        let latest = self.updater.latest_offer();
        let is_older = |waiting: &mut Waiting| waiting.offer.is_some_and(|offer| offer < latest);
        for older in self.waiting.extract_if(.., is_older) {
            older.order.answer(Err(Refused::Superseded));
        }
        if self.waiting.iter().all(|waiting| waiting.offer.is_none()) {
            self.updater.forget_pushed();
        }
    }

    /// `None`: it waits.
    fn apply(&mut self, change: &Change) -> Option<Answer> {
        Some(match self.updater.apply(change) {
            Ok(Outcome::Waits) => return None,
            Ok(Outcome::Committed(committed, done)) => {
                self.observer.committed(&committed);
                Ok(done)
            }
            Ok(Outcome::Nothing(done)) => Ok(done),
            Err(Failure::Problems(problems)) => {
                for problem in problems.iter() {
                    tracing::error!("{problem}");
                }
                tracing::error!("the update is refused; what was running goes on");
                self.observer.refused(&problems);
                Err(Refused::Invalid { error: "refused", reason: problems.to_string() })
            }
            Err(Failure::Refused(refused)) => {
                tracing::error!("the update is refused: {refused}; what was running goes on");
                Err(refused)
            }
        })
    }
}
