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
}

impl<O: Observer> Control<O> {
    /// Serves these texts first. The error is for people.
    pub fn begin(&mut self, texts: &[Source]) -> Result<(), String> {
        match self.updater.begin(texts) {
            Ok(Outcome::Committed(committed, _)) => self.observer.committed(&committed),
            Ok(Outcome::Nothing(_)) => {}
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
                if self.apply(&step).is_err() {
                    break;
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
        if changed || self.updater.has_remote_news() {
            let _ = self.apply(&Change::Sources);
            self.files.follow(self.updater.files());
        }
    }

    fn order(&mut self, order: Order) {
        let Order { change, answer, place } = order;
        let outcome = self.apply(&change);
        self.files.follow(self.updater.files());
        // Whoever hears the answer may ask for the next change at once.
        drop(place);
        let _ = answer.send(outcome);
    }

    fn apply(&mut self, change: &Change) -> Answer {
        match self.updater.apply(change) {
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
        }
    }
}
