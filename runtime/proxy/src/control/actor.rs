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
    /// A pushed configuration that waits for modules.
    pub waiting: Option<Waiting>,
}

/// An order that is carried out when what it needs is there.
pub struct Waiting {
    order: Order,
    /// The number of its configuration.
    offer: u64,
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
                Ok(Signal::Order(order)) => self.order(*order),
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

    /// Looks whether files have changed, or URLs have something new.
    fn look(&mut self) {
        let changed = self.files.have_changed(Instant::now());
        if changed && self.updater.is_unsettled() {
            self.files.look_again();
            return;
        }
        let news = self.updater.has_remote_news();
        if changed || news {
            let _ = self.apply(&Change::Sources);
            self.files.follow(self.updater.files());
        }
        self.give_up_waiting();
        if let Some(waiting) = self.waiting.take_if(|_| news) {
            self.order(waiting.order);
        }
    }

    fn order(&mut self, order: Order) {
        let outcome = self.apply(&order.change);
        self.files.follow(self.updater.files());
        match outcome {
            Some(outcome) => order.answer(outcome),
            None => {
                let offer = self.updater.latest_offer();
                // The one that waited until now is older.
                if let Some(older) = self.waiting.replace(Waiting { order, offer }) {
                    older.order.answer(Err(Refused::Superseded));
                }
            }
        }
        self.give_up_waiting();
    }

    /// A later configuration serves, or waits, in the place of the one that waited.
    fn give_up_waiting(&mut self) {
        let latest = self.updater.latest_offer();
        if let Some(older) = self.waiting.take_if(|waiting| waiting.offer < latest) {
            older.order.answer(Err(Refused::Superseded));
        }
        if self.waiting.is_none() {
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
