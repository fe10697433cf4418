//! Options that change while the writer runs: limits, retention, and the hook.
//!
//! Guarantees: what is refused changes nothing. Workers and housekeeping take what is new at their next round; no
//! caller waits for that.

use std::time::Instant;

use crate::base::sync::lock;
use crate::config::Config;
use crate::housekeeping::background::Housekeeper;
use crate::report::error::Error;
use crate::worker::quota::Quota;
use crate::writer::inner::Core;
use crate::writer::open::by_len;

impl Core {
    pub(crate) fn reconfigure(&self, config: Config) -> Result<(), Error> {
        if self.is_forked() {
            let what = "the writer belongs to the parent process".to_owned();
            return Err(Error::text("config", what));
        }
        config.check()?;
        let Config { limits, aftercare, publishing, .. } = config;
        let has_hook = self.publications().is_some_and(|publications| publications.has_hook());
        let shown = |is_set| if is_set { "set" } else { "not set" };
        let wants_hook = publishing.on_publish.0.is_some();
        if wants_hook != has_hook {
            let permitted = format!("{}, as when the writer was started", shown(has_hook));
            return Err(Error::option("on_publish", shown(wants_hook), permitted));
        }
        let (retain, target) = (aftercare.retain, &self.target);
        let mut scope = target.scope.clone();
        let measures = limits.max_total > 0 || retain.bytes > 0;
        scope.by_len = scope.by_len || (measures && by_len(&scope, &target.names));
        if retain.is_on() {
            Housekeeper::start(&self.housekeeper, &target.files.path)?;
        }
        // Nothing fails from here on. One call after the other.
        let turn = lock(&self.turn);
        self.housekeeper.notices.set_rules(retain, scope.by_len);
        let (now, relief) = (Instant::now(), Some(target.notices.clone()));
        match target.quota.get() {
            Some(quota) => quota.set_limits(limits, scope, now),
            None => {
                let quota = Quota::new(limits, None, scope, relief, self.shared.clone(), now);
                if let Some(quota) = quota {
                    // The turn is ours, so nobody else sets it.
                    let _ = target.quota.set(quota);
                }
            }
        }
        drop(turn);
        if let Some(publications) = self.publications().filter(|_| has_hook) {
            publications.set_hook(publishing.on_publish);
        }
        self.wake_all();
        Ok(())
    }
}
