//! What is measured: each case with its subjects in turns, every result compared byte by byte with its source.

use super::image::{Layout, ensure_same};
use super::process::{Cost, run};
use super::report::{Case, Row, TIMES};
use super::rsync::Rsync;
use super::scratch::Scratch;
use super::subject::{IMAGE, Moved, Mover};
use anyhow::Result;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

/// rsync's options of a delta.
const DELTA: [&str; 3] = ["--inplace", "--no-whole-file", "--sparse"];
/// The large image's volume.
const VOLUME: &str = "large";
/// The group that is measured.
const GROUP: &str = "bench";

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// The large image.
    pub(super) image: Layout,
    /// Pages of 4 KiB that are changed in it.
    pub(super) pages: u64,
    /// How many small images there are.
    pub(super) images: u32,
    /// One of them.
    pub(super) small: Layout,
    /// Rounds of each case.
    pub(super) rounds: u32,
}

/// Everything that the cases use.
pub(super) struct Bench<'a> {
    pub(super) sizes: Sizes,
    pub(super) scratch: &'a Scratch,
    pub(super) mover: &'a Mover,
    pub(super) rsync: &'a Rsync,
}

impl Bench<'_> {
    /// The image of a volume at the source.
    fn source(&self, volume: &str) -> Result<PathBuf> {
        Ok(Scratch::folder(&self.scratch.east, volume)?.join(IMAGE))
    }

    /// The large image for the first time, beside `cp` and rsync.
    pub(super) fn first_copy(&self) -> Result<Vec<Row>> {
        let source = self.source(VOLUME)?;
        self.sizes.image.make(&source, "first")?;
        let mut rows = Vec::new();
        for round in 1..=self.sizes.rounds {
            let folders = ["cp", "whole"].map(|name| Scratch::folder(&self.scratch.west, name));
            let [cp, whole] = folders;
            let (cp, whole) = (cp?, whole?);
            let mut copy = Command::new("cp");
            // Without a clone: the other side is another machine.
            copy.args(["--sparse=always", "--reflink=never"]).arg(&source).arg(cp.join(IMAGE));
            rows.push(Row::new(Case::First, "cp", round, run(&mut copy, None, &cp)?.1));
            ensure_same(&source, &cp.join(IMAGE))?;
            let (cost, wire) = self.rsync.copy(&["--whole-file", "--sparse"], &source, "whole")?;
            rows.push(Row::new(Case::First, "rsync", round, cost).wire(wire));
            ensure_same(&source, &whole.join(IMAGE))?;
            self.mover.forget(GROUP)?;
            let moved = self.mover.sync(GROUP, "p-0", None, &[VOLUME.to_owned()])?;
            rows.push(self.moved(Case::First, round, &moved, &[(GROUP, "p-0", VOLUME)])?);
            fs_err::remove_dir_all(&cp)?;
            fs_err::remove_dir_all(&whole)?;
        }
        Ok(rows)
    }

    /// Few pages changed, others changed and known which, then nothing changed; the mover and rsync take turns in being first.
    /// Unless it is to know, the mover forgets what it sent before.
    pub(super) fn delta(&self) -> Result<Vec<Row>> {
        let (source, layout) = (self.source(VOLUME)?, self.sizes.image);
        layout.make(&source, "delta")?;
        self.mover.forget(GROUP)?;
        self.mover.sync(GROUP, "p-0", None, &[VOLUME.to_owned()])?;
        let there = Scratch::folder(&self.scratch.west, "rsync")?;
        self.rsync.copy(&["--whole-file", "--sparse"], &source, "rsync")?;
        let mut rows = Vec::new();
        let mut base = "p-0".to_owned();
        for round in 1..=self.sizes.rounds {
            let cases = [(Case::Delta, ""), (Case::Known, "-known"), (Case::Nothing, "-again")];
            for (case, point) in cases.map(|(case, end)| (case, format!("p-{round}{end}"))) {
                if case != Case::Nothing {
                    layout.dirty(&source, self.sizes.pages, &point)?;
                }
                let by_mover = |rows: &mut Vec<Row>| -> Result<()> {
                    if case != Case::Known {
                        self.mover.forget_sent(GROUP)?;
                    }
                    let moved = self.mover.sync(GROUP, &point, Some(&base), &[VOLUME.to_owned()])?;
                    rows.push(self.moved(case, round, &moved, &[(GROUP, &point, VOLUME)])?);
                    Ok(())
                };
                let by_rsync = |rows: &mut Vec<Row>| -> Result<()> {
                    // Where nothing changed it would not look inside, for time and size are the same: it is to look.
                    let (cost, wire) =
                        self.rsync.copy(&[&DELTA[..], &["--ignore-times"]].concat(), &source, "rsync")?;
                    rows.push(Row::new(case, "rsync", round, cost).wire(wire));
                    ensure_same(&source, &there.join(IMAGE))
                };
                if round % 2 == 1 {
                    by_mover(&mut rows)?;
                    by_rsync(&mut rows)?;
                } else {
                    by_rsync(&mut rows)?;
                    by_mover(&mut rows)?;
                }
                base = point;
            }
        }
        fs_err::remove_dir_all(&there)?;
        self.mover.forget(GROUP)?;
        fs_err::remove_file(&source)?;
        Ok(rows)
    }

    /// Many images in one point, beside each in a point of its own, one after the other.
    pub(super) fn many(&self) -> Result<Vec<Row>> {
        let layout = self.sizes.small;
        let volumes: Vec<String> = (0..self.sizes.images).map(|number| format!("many-{number:02}")).collect();
        let single: Vec<String> = (0..self.sizes.images).map(|number| format!("single-{number:02}")).collect();
        for volume in &volumes {
            layout.make(&self.source(volume)?, volume)?;
        }
        self.mover.sync("many", "p-0", None, &volumes)?;
        for (group, volume) in single.iter().zip(&volumes) {
            self.mover.sync(group, "p-0", None, std::slice::from_ref(volume))?;
        }
        let mut rows = Vec::new();
        for round in 1..=self.sizes.rounds {
            for volume in &volumes {
                // A page is 4 KiB: 1 % of what is allocated.
                let pages = layout.allocated / 4096 / 100;
                layout.dirty(&self.source(volume)?, pages, &format!("{volume} {round}"))?;
            }
            let (base, point) = (format!("p-{}", round - 1), format!("p-{round}"));
            for group in single.iter().map(String::as_str).chain(["many"]) {
                self.mover.forget_sent(group)?;
            }
            let moved = self.mover.sync("many", &point, Some(&base), &volumes)?;
            let images: Vec<_> = volumes.iter().map(|volume| ("many", point.as_str(), volume.as_str())).collect();
            rows.push(self.moved(Case::Many, round, &moved, &images)?);
            let mut sum = Moved::default();
            for (group, volume) in single.iter().zip(&volumes) {
                let moved = self.mover.sync(group, &point, Some(&base), std::slice::from_ref(volume))?;
                sum = added(&sum, &moved);
                ensure_same(&self.source(volume)?, &self.mover.image(group, &point, volume))?;
            }
            rows.push(Row::new(Case::Many, "one by one", round, sum.cost).wire(sum.wire).read(sum.read));
        }
        for (group, volume) in single.iter().zip(&volumes) {
            self.mover.forget(group)?;
            fs_err::remove_file(self.source(volume)?)?;
        }
        self.mover.forget("many")?;
        Ok(rows)
    }

    /// The mover alone with images of 1, 4 and 16 times as much: the first copy, and the next point.
    pub(super) fn growth(&self) -> Result<Vec<Row>> {
        let whole = self.sizes.image;
        let mut rows = Vec::new();
        for times in TIMES {
            // The largest is eight times the large image.
            let part = |number: u64| number / 2 * u64::from(times);
            let layout =
                Layout { size: part(whole.size), allocated: part(whole.allocated), extents: part(whole.extents) };
            let source = self.source(VOLUME)?;
            layout.make_of_few(&source, "growth")?;
            self.mover.forget(GROUP)?;
            let first = self.mover.sync(GROUP, "p-0", None, &[VOLUME.to_owned()])?;
            let subject = format!("{} MiB", layout.allocated >> 20);
            rows.push(self.moved(Case::GrowthFirst, 1, &first, &[(GROUP, "p-0", VOLUME)])?.of(&subject));
            layout.dirty(&source, part(self.sizes.pages), "growth")?;
            self.mover.forget_sent(GROUP)?;
            let next = self.mover.sync(GROUP, "p-1", Some("p-0"), &[VOLUME.to_owned()])?;
            rows.push(self.moved(Case::GrowthDelta, 1, &next, &[(GROUP, "p-1", VOLUME)])?.of(&subject));
        }
        Ok(rows)
    }

    /// What the mover spends its time on, by case.
    pub(super) fn shares(&self) -> Result<Value> {
        let (source, layout, volumes) = (self.source(VOLUME)?, self.sizes.image, [VOLUME.to_owned()]);
        layout.make(&source, "shares")?;
        self.mover.forget(GROUP)?;
        let first = self.mover.shares(GROUP, "p-0", None, &volumes)?;
        layout.dirty(&source, self.sizes.pages, "shares")?;
        self.mover.forget_sent(GROUP)?;
        let delta = self.mover.shares(GROUP, "p-1", Some("p-0"), &volumes)?;
        self.mover.forget_sent(GROUP)?;
        let nothing = self.mover.shares(GROUP, "p-2", Some("p-1"), &volumes)?;
        self.mover.forget(GROUP)?;
        fs_err::remove_file(&source)?;
        Ok(json!({"first": first, "delta": delta, "nothing": nothing}))
    }

    /// The row of a transfer by the mover, once its images are compared.
    fn moved(&self, case: Case, round: u32, moved: &Moved, images: &[(&str, &str, &str)]) -> Result<Row> {
        for (group, point, volume) in images {
            ensure_same(&self.source(volume)?, &self.mover.image(group, point, volume))?;
        }
        Ok(Row::new(case, "mover", round, moved.cost).wire(moved.wire).read(moved.read).changed(moved.changed))
    }
}

/// Both, one after the other.
fn added(one: &Moved, other: &Moved) -> Moved {
    Moved {
        cost: Cost {
            wall: one.cost.wall + other.cost.wall,
            stable: one.cost.stable + other.cost.stable,
            cpu: one.cost.cpu + other.cost.cpu,
            resident: one.cost.resident.max(other.cost.resident),
            server_resident: one.cost.server_resident.max(other.cost.server_resident),
        },
        read: one.read + other.read,
        changed: one.changed + other.changed,
        wire: one.wire + other.wire,
    }
}
