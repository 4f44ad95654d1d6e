//! Can this machine keep the run: its folder, its locks, the templates of its reports?

use std::path::Path;

use super::{Area, Here, Item, Verdict, steps_of, uses_by};
use crate::plan::{Uses, stands_before_the_run};
use crate::report::{POST_INCIDENT, check_template};
use crate::runlog::LockStore;

/// Less than this is too little for a long run.
const LITTLE_SPACE: u64 = 64 * 1024 * 1024;

pub(super) fn items(here: &Here<'_>, uses: &Uses) -> Vec<Item> {
    let mut items = vec![state_folder(here.store.root())];
    items.extend(locks(here, uses));
    items.extend(templates(here, uses));
    items
}

/// Looks and does not try: nothing is written.
fn state_folder(folder: &Path) -> Item {
    use rustix::fs::{Access, access};
    let what = format!("state folder {}", folder.display());
    let missing = |found: String| {
        Item::new(Area::Machine, Verdict::Missing, &what)
            .found(found)
            .help("set RUNBOOK_STATE to a folder that can be written")
    };
    // Those above it are made when the first run begins.
    let Some(there) = folder.ancestors().find(|folder| folder.exists()) else {
        return missing("no folder above it exists".to_owned());
    };
    if !there.is_dir() {
        return missing(format!("{} is no folder", there.display()));
    }
    if let Err(error) = access(there, Access::WRITE_OK | Access::EXEC_OK) {
        return missing(format!("{} cannot be written: {error}", there.display()));
    }
    let free = rustix::fs::statvfs(there).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    if free < LITTLE_SPACE {
        return Item::new(Area::Machine, Verdict::Warning, &what)
            .found(format!("only {} MiB are free there", free / 1024 / 1024))
            .help("free some space; `runbook runs prune` removes old runs");
    }
    Item::new(Area::Machine, Verdict::Ok, what)
}

fn locks(here: &Here<'_>, uses: &Uses) -> Vec<Item> {
    let held = match LockStore::of(here.store).held() {
        Ok(held) => held,
        Err(error) => {
            return vec![Item::new(Area::Machine, Verdict::Warning, "locks").found(error.to_string())];
        }
    };
    let item = |name: &String| {
        let what = format!("lock `{name}`");
        if !stands_before_the_run(name) {
            return Item::new(Area::Machine, Verdict::Unknown, what).found("only the run can tell its name");
        }
        let Some((holder, is_led)) = held.iter().find(|(holder, _)| holder.name == *name) else {
            return Item::new(Area::Machine, Verdict::Ok, what);
        };
        let run = holder.run.as_ref().map(ToString::to_string).unwrap_or_default();
        let help = if *is_led {
            format!("see how it goes: `runbook watch {run}`")
        } else {
            format!("no process leads that run: go on with it, `runbook resume {run}`, or break the lock")
        };
        Item::new(Area::Machine, Verdict::Warning, what)
            .found(format!("held by run {run} of {}", holder.by.trim_start_matches("user:")))
            .help(help)
    };
    uses.locks.iter().map(item).collect()
}

fn templates(here: &Here<'_>, uses: &Uses) -> Vec<Item> {
    let named = uses_by(uses, |used| {
        let template = used.params.get("template").and_then(serde_json::Value::as_str).unwrap_or(POST_INCIDENT);
        (used.action == "report.render").then(|| template.to_owned()).into_iter().collect()
    });
    let item = |(template, by): (String, Vec<&crate::plan::Use>)| {
        let what = format!("report template `{template}`");
        let item = if !stands_before_the_run(&template) {
            Item::new(Area::Machine, Verdict::Unknown, what).found("only the run can tell its name")
        } else {
            match check_template(&here.plan.folder(), &template) {
                Ok(()) => Item::new(Area::Machine, Verdict::Ok, what),
                Err(reason) => Item::new(Area::Machine, Verdict::Missing, what)
                    .found(reason)
                    .help("a relative path starts from the folder of the runbook"),
            }
        };
        item.of_steps(&steps_of(by))
    };
    named.into_iter().map(item).collect()
}
