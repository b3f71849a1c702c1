//! What follows from a change that took effect: what the next one starts from, what is kept on disk, what may go.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::Updater;
use super::documents::Document;
use crate::control::choose::Choices;
use crate::control::store::GOOD_VERSIONS;
use crate::snapshot::PluginModule;
use crate::telemetry::plugins::KeptVersions;

impl Updater {
    /// The change has taken effect: it is what the next one starts from, and what is kept on disk. Whether that worked.
    pub(super) fn adopt(&mut self, document: Document, choices: Choices) -> bool {
        let used = |name: &str| choices.contains_key(name);
        self.history().retire_all_but(&used, SystemTime::now());
        self.remember(&choices);
        let texts_changed = self.document.as_ref().is_none_or(|before| before.texts != document.texts);
        let texts = texts_changed.then(|| document.texts.clone());
        (self.document, self.choices) = (Some(document), choices);
        self.retire_oldest();
        let Some(store) = &self.store else {
            // Nobody will write them.
            self.choices.values_mut().for_each(|choice| choice.bytes = None);
            return false;
        };
        let kept = (|| {
            // What is being rolled out is written when it has proved itself; until then its bytes stay here.
            for (_, choice) in self.choices.iter().filter(|(name, _)| !self.rollouts.runs(name)) {
                if let Some(bytes) = &choice.bytes {
                    store.keep_module(&choice.module.digest, bytes)?;
                }
            }
            store.keep_index(&self.index)?;
            texts.map_or(Ok(()), |texts| store.keep_configuration(&texts))
        })();
        if let Err(error) = kept {
            let error: std::io::Error = error;
            tracing::warn!("stateDir: {error}: this update is lost at a restart");
            return false;
        }
        let rollouts = &self.rollouts;
        let kept = self.choices.iter_mut().filter(|(name, _)| !rollouts.runs(name));
        kept.for_each(|(_, choice)| choice.bytes = None);
        true
    }

    /// Brings the index up to date with what runs.
    fn remember(&mut self, choices: &Choices) {
        self.index.retain(|name, _| choices.contains_key(name));
        for (name, choice) in choices {
            let kept = self.index.entry(name.clone()).or_default();
            kept.newest = self.modules.newest(name);
            // What is being rolled out has not proved itself: a restart goes back to what did.
            if self.rollouts.runs(name) {
                continue;
            }
            // One that was refused at the start is still there, without a VM.
            if choice.module.code.is_err() || self.publisher.has_refused(name) {
                continue;
            }
            match kept.good.iter().rposition(|good| good.digest == choice.module.digest) {
                Some(at) if at + 1 == kept.good.len() => {}
                // A rollback walks back: what it leaves is not what the next one goes to.
                Some(at) if choice.source == "rollback" => kept.good.truncate(at + 1),
                _ => kept.serve(choice.good()),
            }
            kept.pushed = choice.pushed();
            if choice.accepted.as_ref().map(|accepted| accepted.version)
                > kept.accepted.as_ref().map(|known| known.version)
            {
                kept.accepted.clone_from(&choice.accepted);
            }
        }
    }

    /// Lets go of versions whose last VM is gone; with more than [`GOOD_VERSIONS`] left, the oldest one's exchanges end.
    fn retire_oldest(&mut self) {
        for (name, choice) in &self.choices {
            let serving = self.serving.entry(name.clone()).or_default();
            serving.retain(|module| !Arc::ptr_eq(module, &choice.module));
            serving.push_back(choice.module.clone());
            // The version before serves too, and is none of those that may be reset.
            if let Some(stable) = self.stable.get(name).filter(|_| self.rollouts.runs(name)) {
                serving.retain(|module| !Arc::ptr_eq(module, &stable.module));
                serving.push_back(stable.module.clone());
            }
        }
        let (publisher, choices, gone) = (&self.publisher, &self.choices, &mut self.gone);
        self.serving.retain(|name, serving| {
            let is_present = |module: &Arc<PluginModule>| {
                choices.get(name).is_some_and(|choice| Arc::ptr_eq(&choice.module, module))
            };
            let before = serving.len();
            serving.retain(|module| is_present(module) || module.serving.load(Ordering::Acquire) > 0);
            *gone |= serving.len() < before;
            while serving.len() > GOOD_VERSIONS {
                let Some(oldest) = serving.pop_front() else { break };
                tracing::warn!(
                    plugin = name,
                    version = oldest.version,
                    "more than {GOOD_VERSIONS} versions still serve: the exchanges of the oldest are reset"
                );
                publisher.reset(&oldest);
            }
            !serving.is_empty()
        });
    }

    /// Frees what the last exchanges of older snapshots have left.
    pub fn sweep(&mut self) {
        self.publisher.sweep();
        self.retire_oldest();
        if std::mem::take(&mut self.gone) {
            self.drop_series();
        }
    }

    /// Drops the metrics of versions that neither serve nor are shown.
    fn drop_series(&self) {
        let mut kept = KeptVersions::default();
        for (name, serving) in &self.serving {
            serving.iter().for_each(|module| kept.keep(name, module.version));
        }
        let history = self.history();
        for name in self.choices.keys() {
            history.records(name).for_each(|record| kept.keep(name, record.version));
        }
        kept.drop_others(self.publisher.metrics());
    }
}
