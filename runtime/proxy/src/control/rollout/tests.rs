use std::path::PathBuf;

use sidegate_config::Source;

use super::*;
use crate::snapshot::compile::{self, Modules};
use crate::snapshot::rollout::Conduct;

/// A snapshot of one listener with the plugin `p` in it twice, from "code" of this digest and with this configuration.
fn compiled(digest: &str, setting: u32, before: Option<&Snapshot>) -> Snapshot {
    let text = format!(
        "plugins: [{{name: p, url: 'file:p.wasm'}}]\n\
         listeners: [{{name: l, address: '127.0.0.1:1', filters: [\
           {{plugin: p, name: a, config: {{setting: {setting}}}}}, {{plugin: p, name: b}}]}}]\n"
    );
    let loaded = sidegate_config::parse(&[Source { path: PathBuf::from("/c.yaml"), text }]).unwrap();
    let module = PluginModule::new(digest.to_owned(), 1, String::new(), Err("none".to_owned()));
    let modules: Modules = [("p".to_owned(), Arc::new(module))].into();
    compile::compile(&loaded.config, &loaded.config.plugins, &modules, before)
        .unwrap_or_else(|problems| panic!("{problems}"))
}

fn plan() -> Plan {
    Plan::of_push("5,50", Duration::from_secs(10), None).unwrap()
}

/// The rollouts after an update from `current`, and its snapshot.
fn update(rollouts: &Rollouts, digest: &str, setting: u32, current: &Snapshot, now: Instant) -> (Rollouts, Snapshot) {
    let mut snapshot = compiled(digest, setting, Some(current));
    let after = rollouts.after(&mut snapshot, Some(current), &|_| Some(plan()), now);
    (after, snapshot)
}

/// For each entry the digest that serves it, and the one before if there are two.
fn served(snapshot: &Snapshot) -> Vec<(String, Option<String>)> {
    let digest = |at: usize| snapshot.plugins[at].module.digest.clone();
    let chain = snapshot.listeners.iter().flat_map(|listener| &listener.chain);
    chain.map(|entry| (digest(entry.plugin), entry.before.map(|before| digest(before.plugin)))).collect()
}

fn serve(rollouts: &Rollouts, requests: u64, conduct: Conduct) {
    let Some(running) = rollouts.running.get("p") else { panic!("nothing runs") };
    for _ in 0..requests {
        running.tally.new.note(conduct);
        running.tally.old.note(Conduct::default());
    }
}

#[test]
fn steps_until_the_new_version_serves_alone() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let first = compiled("one", 1, None);
    let (mut rollouts, snapshot) = update(&Rollouts::default(), "two", 1, &first, start);
    let both = ("two".to_owned(), Some("one".to_owned()));
    assert_eq!(served(&snapshot), [both.clone(), both.clone()]);
    assert_eq!(snapshot.rollouts[0].weight, 500);
    assert_eq!(rollouts.due(at(60)), None, "too few requests");
    serve(&rollouts, 200, Conduct::default());
    assert_eq!(rollouts.due(at(9)), None, "too early");
    assert_eq!(rollouts.due(at(10)), Some(("p".to_owned(), Due::Advance)));
    assert!(rollouts.pause("p", true));
    assert_eq!(rollouts.due(at(10)), None);
    rollouts.pause("p", false);
    rollouts.step("p", &Due::Advance, at(10));
    let (mut rollouts, snapshot) = update(&rollouts, "two", 1, &snapshot, at(10));
    assert_eq!(snapshot.rollouts[0].weight, 5_000);
    assert_eq!(rollouts.due(at(30)), None, "each step wants its own requests");
    serve(&rollouts, 200, Conduct::default());
    assert_eq!(rollouts.due(at(20)), Some(("p".to_owned(), Due::Finish)));
    rollouts.step("p", &Due::Finish, at(20));
    let mut last = compiled("two", 1, Some(&snapshot));
    let rollouts = rollouts.after(&mut last, Some(&last_of(&snapshot)), &|_| None, at(20));
    assert!(last.rollouts.is_empty() && !rollouts.is_running());
    assert_eq!(served(&last), [("two".to_owned(), None), ("two".to_owned(), None)]);
}

/// What serves after a rollout has finished: the new version only.
fn last_of(snapshot: &Snapshot) -> Snapshot {
    compiled("two", 1, Some(snapshot))
}

#[test]
fn a_worse_version_goes_back_and_the_next_one_gets_its_chance() {
    let now = Instant::now();
    let first = compiled("one", 1, None);
    let (mut rollouts, snapshot) = update(&Rollouts::default(), "two", 1, &first, now);
    serve(&rollouts, 100, Conduct { faulted: true, ..Conduct::default() });
    let Some((_, Due::Abort(reason))) = rollouts.due(now) else { panic!("it goes on") };
    assert!(reason.starts_with("faults: 100 of 100"), "{reason}");
    rollouts.step("p", &Due::Abort(reason), now);
    // Which module that is was chosen before.
    let (rollouts, snapshot) = update(&rollouts, "one", 1, &snapshot, now);
    let old = ("one".to_owned(), None);
    assert_eq!(served(&snapshot), [old.clone(), old]);
    assert!(!rollouts.is_running() && rollouts.pinned.is_empty(), "its configuration was never in doubt");
    let (rollouts, snapshot) = update(&rollouts, "three", 1, &snapshot, now);
    assert_eq!(served(&snapshot)[0], ("three".to_owned(), Some("one".to_owned())), "the next one gets its chance");
    let (rollouts, snapshot) = update(&rollouts, "one", 1, &snapshot, now);
    assert!(!rollouts.is_running());
    assert_eq!(served(&snapshot)[0], ("one".to_owned(), None), "back to what it was: nothing to roll out");
}

#[test]
fn a_changed_configuration_is_rolled_out_where_it_changed() {
    let now = Instant::now();
    let first = compiled("one", 1, None);
    let (mut rollouts, snapshot) = update(&Rollouts::default(), "one", 2, &first, now);
    let before: Vec<bool> = snapshot.listeners[0].chain.iter().map(|entry| entry.before.is_some()).collect();
    assert_eq!(before, [true, false]);
    let (new, old) = (&snapshot.listeners[0].chain[0], snapshot.listeners[0].chain[0].before.unwrap());
    let config = |at: usize| snapshot.plugins[at].spec.configuration.clone().unwrap();
    assert_eq!((config(new.plugin), config(old.plugin)), (b"{\"setting\":2}".to_vec(), b"{\"setting\":1}".to_vec()));
    rollouts.step("p", &Due::Abort("asked".into()), now);
    let (rollouts, pinned) = update(&rollouts, "one", 2, &snapshot, now);
    let first_entry = pinned.listeners[0].chain[0].plugin;
    assert_eq!(pinned.plugins[first_entry].spec.configuration.as_deref(), Some(&b"{\"setting\":1}"[..]));
    let (rollouts, _) = update(&rollouts, "one", 1, &pinned, now);
    assert!(rollouts.pinned.is_empty() && !rollouts.is_running(), "the sources say again what serves");
}

/// The digest and the setting of the entry whose configuration changes.
fn first_entry(snapshot: &Snapshot) -> (String, String) {
    let used = &snapshot.plugins[snapshot.listeners[0].chain[0].plugin];
    let configuration = used.spec.configuration.clone().unwrap_or_default();
    (used.module.digest.clone(), String::from_utf8(configuration).unwrap())
}

#[test]
fn a_configuration_that_went_back_stays_away_whatever_version_comes() {
    let now = Instant::now();
    let first = compiled("one", 1, None);
    let (mut rollouts, snapshot) = update(&Rollouts::default(), "one", 2, &first, now);
    rollouts.step("p", &Due::Abort("worse".into()), now);
    let at_once = |rollouts: &Rollouts, digest: &str, setting: u32, current: &Snapshot| {
        let mut snapshot = compiled(digest, setting, Some(current));
        let after = rollouts.after(&mut snapshot, Some(current), &|_| None, now);
        (after, snapshot)
    };
    let is = |digest: &str, setting: u32| (digest.to_owned(), format!("{{\"setting\":{setting}}}"));
    let (rollouts, back) = at_once(&rollouts, "one", 2, &snapshot);
    assert_eq!((first_entry(&back), back.plugins.len()), (is("one", 1), 2), "what stays away is not prepared");
    let tag = |snapshot: &Snapshot| snapshot.plugins[snapshot.listeners[0].chain[0].plugin].spec.tag;
    assert_eq!(tag(&back), tag(&first), "the VMs that served before");
    let (rollouts, pushed) = at_once(&rollouts, "two", 2, &back);
    assert_eq!(first_entry(&pushed), is("two", 1), "a push brings its module only");
    let (rollouts, again) = at_once(&rollouts, "two", 2, &pushed);
    assert_eq!(tag(&again), tag(&pushed), "the same as before keeps its VMs");
    let (rollouts, rolled_back) = at_once(&rollouts, "one", 2, &again);
    assert_eq!((first_entry(&rolled_back), tag(&rolled_back)), (is("one", 1), tag(&rolled_back)));
    // A version may be rolled out meanwhile, and may go back itself.
    let (mut rollouts, rolling) = update(&rollouts, "three", 2, &rolled_back, now);
    assert!(rollouts.is_running());
    assert_eq!(first_entry(&rolling), is("three", 1));
    rollouts.step("p", &Due::Abort("worse".into()), now);
    let (rollouts, rolled_back) = at_once(&rollouts, "one", 2, &rolling);
    assert_eq!(first_entry(&rolled_back), is("one", 1));
    let (rollouts, next) = update(&rollouts, "one", 3, &rolled_back, now);
    assert!(rollouts.is_running() && rollouts.pinned.is_empty(), "another configuration gets its chance");
    assert_eq!(first_entry(&next), is("one", 3));
}

#[test]
fn a_step_that_fails_is_tried_again_after_a_growing_pause() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let first = compiled("one", 1, None);
    let (mut rollouts, _) = update(&Rollouts::default(), "two", 1, &first, start);
    serve(&rollouts, 200, Conduct::default());
    let (_, due) = rollouts.due(at(10)).unwrap();
    rollouts.failed("p", &due, at(10));
    assert_eq!(rollouts.due(at(10)), None);
    assert!(rollouts.due(at(11)).is_some());
    rollouts.failed("p", &due, at(11));
    assert_eq!((rollouts.due(at(12)), rollouts.due(at(13)).is_some()), (None, true));
    (0..40).for_each(|_| rollouts.failed("p", &due, at(13)));
    assert!(rollouts.due(at(13) + LONGEST_RETRY).is_some());
    serve(&rollouts, 100, Conduct { faulted: true, ..Conduct::default() });
    assert!(matches!(rollouts.due(at(13)), Some((_, Due::Abort(_)))), "the way back does not wait for that");
}

#[test]
fn a_new_update_ends_the_running_one() {
    let now = Instant::now();
    let first = compiled("one", 1, None);
    let (rollouts, snapshot) = update(&Rollouts::default(), "two", 1, &first, now);
    serve(&rollouts, 500, Conduct::default());
    let (rollouts, snapshot) = update(&rollouts, "three", 1, &snapshot, now);
    assert_eq!(served(&snapshot)[0], ("three".to_owned(), Some("one".to_owned())), "from what served alone");
    assert_eq!(rollouts.progress("p").unwrap().tally.new.requests(), 0, "counted anew");
}

#[test]
fn what_a_push_may_ask_for() {
    let hold = Duration::from_secs(1);
    assert!(Plan::of_push("0.5,10,99", hold, None).is_ok());
    for bad in ["", "0", "100", "50,5", "5,5", "x", "5,,6", "-1", "NaN", &"1,".repeat(30)] {
        assert!(Plan::of_push(bad, hold, None).is_err(), "{bad}");
    }
}

/// A snapshot with the plugins `a` and `z`, and `z` twice under one name with different configurations.
fn two_plugins(a: &str, z: &str, before: Option<&Snapshot>) -> Snapshot {
    let text = "plugins: [{name: a, url: 'file:a.wasm'}, {name: z, url: 'file:z.wasm'}]\n\
                listeners: [{name: l, address: '127.0.0.1:1', filters: [\
                  {plugin: a}, {plugin: z, config: one}, {plugin: z, config: two}]}]\n";
    let loaded = sidegate_config::parse(&[Source { path: PathBuf::from("/c.yaml"), text: text.to_owned() }]).unwrap();
    let module =
        |digest: &str| Arc::new(PluginModule::new(digest.to_owned(), 1, String::new(), Err("none".to_owned())));
    let modules: Modules = [("a".to_owned(), module(a)), ("z".to_owned(), module(z))].into();
    compile::compile(&loaded.config, &loaded.config.plugins, &modules, before)
        .unwrap_or_else(|problems| panic!("{problems}"))
}

/// The digest and configuration that each entry runs, and ran.
fn entries(snapshot: &Snapshot) -> Vec<(String, Option<String>)> {
    let text = |at: usize| {
        let plugin = &snapshot.plugins[at];
        let configuration = plugin.spec.configuration.as_deref().unwrap_or_default();
        format!("{} {}", plugin.module.digest, String::from_utf8_lossy(configuration))
    };
    let chain = snapshot.listeners.iter().flat_map(|listener| &listener.chain);
    chain.map(|entry| (text(entry.plugin), entry.before.map(|before| text(before.plugin)))).collect()
}

#[test]
fn a_rollout_that_ends_badly_leaves_the_other_ones_alone() {
    let now = Instant::now();
    let first = two_plugins("a1", "z1", None);
    let mut both = two_plugins("a2", "z2", Some(&first));
    let mut rollouts = Rollouts::default().after(&mut both, Some(&first), &|_| Some(plan()), now);
    let old_and_new = |new: &str, old: &str| (new.to_owned(), Some(old.to_owned()));
    let running = old_and_new("a2 ", "a1 ");
    assert_eq!(
        entries(&both),
        [running.clone(), old_and_new("z2 one", "z1 one"), old_and_new("z2 two", "z1 two")],
        "entries of one name keep their own configuration"
    );
    rollouts.step("z", &Due::Abort("worse".into()), now);
    let mut after = two_plugins("a2", "z1", Some(&both));
    rollouts.after(&mut after, Some(&both), &|_| Some(plan()), now);
    let alone = |text: &str| (text.to_owned(), None);
    assert_eq!(entries(&after), [running, alone("z1 one"), alone("z1 two")]);
}
