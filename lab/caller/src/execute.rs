//! One Execute of an action, again and again, over the plug-in's own socket.

use crate::object::{BYTES, disk, run, snapshot_class, volume};
use crate::spread::{Spread, ratio};
use crate::stand_in::disk_id;
use anyhow::{Result, ensure};
use serde_json::Value;
use std::time::{Duration, Instant};
use velero_plugin::harness::Host;

/// Calls before the first that counts.
const WARM_UP: usize = 100;
/// Calls of one subject in a row, before it is the next one's turn.
const TURN: usize = 20;
/// What one Execute may take, and one with the large table.
const GOALS: [Duration; 2] = [Duration::from_micros(250), Duration::from_micros(300)];

/// Which call it is.
#[derive(Clone, Copy)]
enum Call {
    /// No action at all: what the way there and back costs.
    Health,
    Backup,
    Restore,
}

/// One action and what it is given.
struct Action<'a> {
    title: &'static str,
    host: &'a Host,
    call: Call,
    name: &'static str,
    item: Value,
    /// The Backup or Restore.
    run: &'a Value,
    /// Where in the answer which text has to be: a fast wrong answer is none.
    expect: (&'static str, String),
}

impl Action<'_> {
    async fn call(&self) -> Result<Duration> {
        let begin = Instant::now();
        let item = match self.call {
            Call::Health => {
                ensure!(self.host.healthy(self.name).await?, "{} does not serve", self.name);
                return Ok(begin.elapsed());
            }
            Call::Backup => self.host.execute_backup(self.name, &self.item, self.run).await?.item,
            Call::Restore => self.host.execute_restore(self.name, &self.item, &self.item, self.run).await?.item,
        };
        let took = begin.elapsed();
        let (pointer, expected) = &self.expect;
        let found = item.pointer(pointer).and_then(Value::as_str);
        ensure!(found == Some(expected.as_str()), "{}: {pointer} is {found:?}, not {expected:?}", self.name);
        Ok(took)
    }
}

/// The plug-ins that are called.
pub(super) struct Hosts {
    /// Ours, whose mapping has no table.
    pub(super) ours: Host,
    /// Ours, whose mapping has a table of one row.
    pub(super) row: Host,
    /// Ours, whose mapping has a table of [`Self::rows`].
    pub(super) table: Host,
    /// Velero's own.
    pub(super) velero: Host,
    pub(super) rows: usize,
}

impl Hosts {
    fn rewrite<'a>(title: &'static str, host: &'a Host, number: usize, run: &'a Value) -> Action<'a> {
        let expect = ("/spec/fc/wwids/0", disk_id("west", number));
        let (name, call) = ("leeward.io/rewrite-volume", Call::Restore);
        Action { title, host, name, call, item: disk(number), run, expect }
    }

    /// Each action in its turn, and what they cost beside each other.
    pub(super) async fn executes(&self, calls: u32) -> Result<()> {
        let (ours, theirs) = (&self.ours, &self.velero);
        let (backup, restore) = (&run("Backup"), &run("Restore"));
        let retained = || ("/spec/persistentVolumeReclaimPolicy", "Retain".to_owned());
        let keep = |title, item| Action {
            title,
            host: ours,
            name: "leeward.io/keep-volume",
            call: Call::Backup,
            item,
            run: backup,
            expect: retained(),
        };
        let alone = |title, host| Action {
            title,
            host,
            call: Call::Health,
            name: "plugin",
            item: Value::Null,
            run: backup,
            expect: ("", String::new()),
        };
        let actions = [
            alone("round trip alone (Rust)", ours),
            alone("round trip alone (Go)", theirs),
            keep("keep-volume, no claim (Rust)", volume("10.77.0.2", "/vault", None)),
            Action {
                title: "snapshotclass-backupper (Go)",
                host: theirs,
                name: "velero.io/csi-volumesnapshotclass-backupper",
                call: Call::Backup,
                item: snapshot_class(),
                run: backup,
                expect: ("/deletionPolicy", "Delete".to_owned()),
            },
            keep("keep-volume, claim: 1 GET", volume("10.77.0.2", "/vault", Some("db-data"))),
            Action {
                title: "rewrite-volume, no table",
                host: ours,
                name: "leeward.io/rewrite-volume",
                call: Call::Restore,
                item: volume("10.77.0.1", "/export", Some("db-data")),
                run: restore,
                expect: ("/spec/csi/volumeAttributes/share", "/vault".to_owned()),
            },
            Self::rewrite("rewrite-volume, table of 1 row", &self.row, 0, restore),
            Self::rewrite("rewrite-volume, the large table", &self.table, self.rows - 1, restore),
        ];
        let calls = usize::try_from(calls)?;
        let mut times = actions.each_ref().map(|_| Vec::with_capacity(calls));
        let mut first = Vec::new();
        for action in &actions {
            first.push(action.call().await?);
            for _ in 1..WARM_UP {
                action.call().await?;
            }
        }
        for turn in (0..calls).step_by(TURN) {
            for (action, times) in actions.iter().zip(&mut times) {
                for _ in turn..calls.min(turn + TURN) {
                    times.push(action.call().await?);
                }
            }
        }
        println!("\none Execute, {BYTES} bytes, {calls} times each     min  median     p90     p99  µs");
        let spreads = times.map(Spread::from_iter);
        for (action, spread) in actions.iter().zip(&spreads) {
            let columns =
                [0.0, 0.5, 0.9, 0.99].map(|part| format!("{:>8.0}", spread.quantile(part).as_secs_f64() * 1e6));
            println!("{:<43}{}", action.title, columns.concat());
        }
        for (what, spread, goal) in
            [("one Execute", &spreads[2], GOALS[0]), ("with the large table", &spreads[7], GOALS[1])]
        {
            let said = if spread.median() <= goal { "reached" } else { "missed" };
            println!(
                "{what}: at most {} µs wanted, {} µs median: {said}",
                goal.as_micros(),
                spread.median().as_micros()
            );
        }
        let [.., no_table, row, table] = spreads.each_ref().map(Spread::median);
        // Not less the round trips: a difference of two such medians is smaller than their noise.
        let velero = ratio(spreads[3].median(), spreads[2].median());
        println!("without API server, ratio of medians: {velero:.1} × Velero's own");
        println!(
            "table of {} rows, ratio of medians: {:.2} × the time with a table of 1 row, {:.2} × that without a table",
            self.rows,
            ratio(table, row),
            ratio(table, no_table)
        );
        // The ConfigMap is read once in a plug-in's life, which is as long as a restore.
        println!(
            "first call, which connects and reads the mapping: {:.1} ms with the large table, {:.1} ms with 1 row",
            first[7].as_secs_f64() * 1e3,
            first[6].as_secs_f64() * 1e3
        );
        println!("GET: of a stand-in for the API server, plain HTTP on loopback, in this process");
        Ok(())
    }

    /// What a restore of `volumes` volumes asks rewrite-volume: one after the other, each another one.
    pub(super) async fn restore(&self, volumes: u32) -> Result<()> {
        let volumes = usize::try_from(volumes)?;
        let mut times = Vec::with_capacity(volumes);
        let run = run("Restore");
        for number in 0..volumes {
            times.push(Self::rewrite("", &self.table, number % self.rows, &run).call().await?);
        }
        let sum: Duration = times.iter().sum();
        let spread = Spread::from_iter(times);
        println!(
            "\na restore of {volumes} volumes: {:.0} ms in rewrite-volume, all calls summed (median {:.0}, max {:.0} µs each)",
            sum.as_secs_f64() * 1e3,
            spread.median().as_secs_f64() * 1e6,
            spread.quantile(1.0).as_secs_f64() * 1e6
        );
        Ok(())
    }
}
