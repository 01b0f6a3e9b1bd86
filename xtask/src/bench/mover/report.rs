//! What came out, as table, JSON and plot.

use super::process::Cost;
use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Case {
    /// A large image for the first time.
    First,
    /// Few pages of it changed.
    Delta,
    /// The same, and the file system tells where.
    Known,
    /// Nothing of it changed.
    Nothing,
    /// Many images at once.
    Many,
    /// Larger and larger images for the first time.
    GrowthFirst,
    /// Their next point.
    GrowthDelta,
}

impl Case {
    const ALL: [Self; 7] =
        [Self::First, Self::Delta, Self::Known, Self::Nothing, Self::Many, Self::GrowthFirst, Self::GrowthDelta];

    const fn name(self) -> &'static str {
        match self {
            Self::First => "first copy",
            Self::Delta => "few pages changed",
            Self::Known => "few pages, known which",
            Self::Nothing => "nothing changed",
            Self::Many => "many images, 1 % changed",
            Self::GrowthFirst => "growth: first copy",
            Self::GrowthDelta => "growth: next point",
        }
    }
}

/// One run of one subject.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    case: Case,
    subject: String,
    round: u32,
    #[serde(flatten)]
    cost: Cost,
    /// Bytes on the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    wire: Option<u64>,
    /// Bytes read at the source, where the subject says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<u64>,
    /// Bytes of the blocks that were found to be different, before compression, where the subject says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<u64>,
}

impl Row {
    pub(super) fn new(case: Case, subject: &str, round: u32, cost: Cost) -> Self {
        Self { case, subject: subject.to_owned(), round, cost, wire: None, read: None, changed: None }
    }

    pub(super) fn wire(self, bytes: u64) -> Self {
        Self { wire: Some(bytes), ..self }
    }

    pub(super) fn read(self, bytes: u64) -> Self {
        Self { read: Some(bytes), ..self }
    }

    pub(super) fn changed(self, bytes: u64) -> Self {
        Self { changed: Some(bytes), ..self }
    }

    pub(super) fn of(self, subject: &str) -> Self {
        Self { subject: subject.to_owned(), ..self }
    }
}

/// All rounds of a subject in a case.
struct Summary<'a> {
    rows: Vec<&'a Row>,
}

impl<'a> Summary<'a> {
    fn of(rows: &'a [Row], case: Case, subject: &str) -> Option<Self> {
        let rows: Vec<_> = rows.iter().filter(|row| row.case == case && row.subject == subject).collect();
        (!rows.is_empty()).then_some(Self { rows })
    }

    fn sorted(&self, what: impl Fn(&Cost) -> f64) -> Vec<f64> {
        let mut all: Vec<f64> = self.rows.iter().map(|row| what(&row.cost)).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    fn least(&self, what: impl Fn(&Cost) -> f64) -> f64 {
        self.sorted(what).first().copied().unwrap_or_default()
    }

    fn median(&self, what: impl Fn(&Cost) -> f64) -> f64 {
        let all = self.sorted(what);
        all.get(all.len() / 2).copied().unwrap_or_default()
    }

    fn most(&self, what: impl Fn(&Row) -> Option<u64>) -> Option<u64> {
        self.rows.iter().filter_map(|row| what(row)).max()
    }
}

/// The subjects of a case, in the order in which they first appear.
fn subjects(rows: &[Row], case: Case) -> Vec<&str> {
    let mut found = Vec::new();
    for row in rows.iter().filter(|row| row.case == case) {
        if !found.contains(&row.subject.as_str()) {
            found.push(row.subject.as_str());
        }
    }
    found
}

/// The median (least) of every figure.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = String::from("median (least) of the rounds; CPU and memory of both sides\n");
    let head = "case                      subject     rounds   wall s           stable s         CPU s            wire B        read B    MiB";
    text = format!("{text}{head}\n");
    for case in Case::ALL {
        for subject in subjects(rows, case) {
            let Some(summary) = Summary::of(rows, case, subject) else { continue };
            let pair = |what: fn(&Cost) -> f64| format!("{:.2} ({:.2})", summary.median(what), summary.least(what));
            let bytes =
                |what: fn(&Row) -> Option<u64>| summary.most(what).map_or("-".to_owned(), |bytes| bytes.to_string());
            let resident = summary.most(|row| Some(row.cost.resident)).unwrap_or_default() >> 10;
            let server = summary.most(|row| Some(row.cost.server_resident)).unwrap_or_default() >> 10;
            let (wall, stable, cpu) = (pair(|cost| cost.wall), pair(|cost| cost.stable), pair(|cost| cost.cpu));
            let (wire, read) = (bytes(|row| row.wire), bytes(|row| row.read));
            let (name, rounds) = (case.name(), summary.rows.len());
            text += &format!(
                "{name:<26}{subject:<12}{rounds:>6}   {wall:<17}{stable:<17}{cpu:<17}{wire:>11}{read:>13}  {resident}+{server}\n"
            );
        }
    }
    text
}

/// A figure that has a goal.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Goal {
    what: &'static str,
    seen: f64,
    goal: f64,
    reached: bool,
}

impl Goal {
    fn at_least(what: &'static str, seen: f64, goal: f64) -> Self {
        Self { what, seen, goal, reached: seen >= goal }
    }

    fn at_most(what: &'static str, seen: f64, goal: f64) -> Self {
        Self { what, seen, goal, reached: seen <= goal }
    }
}

/// What was to be reached, of medians.
#[allow(clippy::cast_precision_loss, reason = "fractions are shown to two digits")]
pub(super) fn goals(rows: &[Row], allocated: u64) -> Vec<Goal> {
    let of = |case, subject| Summary::of(rows, case, subject);
    let (wall, cpu) = (|cost: &Cost| cost.wall, |cost: &Cost| cost.cpu);
    let mut goals = Vec::new();
    if let (Some(mover), Some(rsync)) = (of(Case::Delta, "mover"), of(Case::Delta, "rsync")) {
        goals.push(Goal::at_least(
            "few pages changed: rsync's CPU / the mover's",
            rsync.median(cpu) / mover.median(cpu),
            15.0,
        ));
        goals.push(Goal::at_least(
            "few pages changed: rsync's wall / the mover's",
            rsync.median(wall) / mover.median(wall),
            10.0,
        ));
    }
    if let (Some(mover), Some(rsync), Some(cp)) =
        (of(Case::First, "mover"), of(Case::First, "rsync"), of(Case::First, "cp"))
    {
        let faster = |what: fn(&Cost) -> f64| rsync.median(what).min(cp.median(what));
        goals.push(Goal::at_most(
            "first copy: the mover's wall / the faster one's",
            mover.median(wall) / faster(wall),
            1.15,
        ));
        let stable = |cost: &Cost| cost.stable;
        goals.push(Goal::at_most(
            "first copy: the same until on stable storage",
            mover.median(stable) / faster(stable),
            1.15,
        ));
    }
    if let Some(known) = of(Case::Known, "mover") {
        goals.push(Goal::at_most("few pages, known which: the mover's wall, s", known.median(wall), 1.0));
        let (read, changed) = (known.most(|row| row.read), known.most(|row| row.changed));
        if let Some((read, changed)) = read.zip(changed).filter(|(_, changed)| *changed > 0) {
            let ratio = read as f64 / changed as f64;
            goals.push(Goal::at_most("few pages, known which: bytes read / of changed blocks", ratio, 2.0));
        }
    }
    if let Some(mover) = of(Case::Nothing, "mover") {
        if let Some(read) = mover.most(|row| row.read).filter(|read| *read > 0) {
            goals.push(Goal::at_most("nothing changed: bytes read / allocated", read as f64 / allocated as f64, 1.0));
        }
        if let Some(wire) = mover.most(|row| row.wire) {
            goals.push(Goal::at_most("nothing changed: KiB on the wire", wire as f64 / 1024.0, 64.0));
        }
    }
    if let (Some(many), Some(single)) = (of(Case::Many, "mover"), of(Case::Many, "one by one")) {
        goals.push(Goal::at_most(
            "many images: wall at once / one by one",
            many.median(wall) / single.median(wall),
            0.7,
        ));
    }
    let peak = rows.iter().filter(|row| row.subject != "rsync" && row.subject != "cp");
    let peak = peak.map(|row| row.cost.resident.max(row.cost.server_resident)).max();
    goals.extend(peak.map(|peak| Goal::at_most("the mover's memory at its highest, MiB", peak as f64 / 1024.0, 96.0)));
    goals
}

/// The goals in lines.
pub(super) fn told(goals: &[Goal]) -> String {
    let line = |goal: &Goal| {
        let reached = if goal.reached { "reached" } else { "missed" };
        format!("{:<55}{:>9.2}   goal {:>6.2}   {reached}\n", goal.what, goal.seen, goal.goal)
    };
    goals.iter().map(line).collect()
}

/// Everything, for programs.
pub(super) fn document(machine: &Value, rows: &[Row], goals: &[Goal], shares: &Value) -> Result<String> {
    let document = json!({"machine": machine, "rows": rows, "goals": goals, "shares": shares});
    Ok(serde_json::to_string_pretty(&document)?)
}

/// How much larger the images of the growth are than its smallest.
pub(super) const TIMES: [u32; 3] = [1, 4, 16];
/// The last of them.
const MOST: f64 = TIMES[2] as f64;

/// Growth as SVG: seconds of both runs (left) and memory of both sides (right) by what is allocated.
pub(super) fn plot(rows: &[Row]) -> String {
    let (width, height, edge) = (640.0, 320.0, 48.0);
    let series =
        |case, what: fn(&Row) -> f64| -> Vec<f64> { rows.iter().filter(|row| row.case == case).map(what).collect() };
    #[allow(clippy::cast_precision_loss, reason = "a pixel is coarser")]
    let memory = |row: &Row| (row.cost.resident + row.cost.server_resident) as f64 / 1024.0;
    let lines = [
        ("first copy, s", "#0b6e99", series(Case::GrowthFirst, |row| row.cost.wall)),
        ("next point, s", "#0f7b3f", series(Case::GrowthDelta, |row| row.cost.wall)),
        ("memory, MiB (first copy)", "#a33", series(Case::GrowthFirst, memory)),
    ];
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <path d=\"M{edge} {edge}V{bottom}H{right}\" fill=\"none\" stroke=\"#555\"/>\n",
        bottom = height - edge,
        right = width - edge,
    );
    for (number, (name, colour, values)) in lines.iter().enumerate() {
        let most = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let points: Vec<String> = TIMES
            .iter()
            .zip(values)
            .map(|(times, value)| {
                let (x, y) = (
                    f64::from(*times) / MOST * (width - 2.0 * edge) + edge,
                    height - edge - value / most * (height - 2.0 * edge),
                );
                format!("{x:.0},{y:.0}")
            })
            .collect();
        let at = 16.0 * (f64::from(u32::try_from(number).unwrap_or_default()) + 1.0);
        let last = values.last().copied().unwrap_or_default();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
        let _ =
            writeln!(svg, "<text x=\"{edge}\" y=\"{at}\" fill=\"{colour}\">{name}: up to {last:.1} at {MOST}×</text>");
    }
    for times in TIMES {
        let x = f64::from(times) / MOST * (width - 2.0 * edge) + edge;
        let _ = writeln!(
            svg,
            "<text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{times}×</text>",
            height - edge + 18.0
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(case: Case, subject: &str, wall: f64) -> Row {
        let cost = Cost { wall, stable: wall, cpu: wall / 2.0, resident: 2048, server_resident: 1024 };
        Row::new(case, subject, 1, cost).wire(1024)
    }

    #[test]
    fn medians_ratios_and_goals_are_of_the_rows() {
        let mut rows: Vec<Row> = [1.0, 9.0, 2.0].map(|wall| row(Case::Delta, "mover", wall)).to_vec();
        rows.push(row(Case::Delta, "rsync", 30.0));
        rows.push(row(Case::Known, "mover", 0.5).read(300).changed(200));
        rows.push(row(Case::Nothing, "mover", 1.0).read(500));
        assert!(table(&rows).contains("2.00 (1.00)"), "{}", table(&rows));
        let goals = goals(&rows, 1000);
        let seen: Vec<f64> = goals.iter().map(|goal| goal.seen).collect();
        assert_eq!(seen, [15.0, 15.0, 0.5, 1.5, 0.5, 1.0, 2.0]);
        assert!(goals.iter().all(|goal| goal.reached));
        assert!(!Goal::at_most("x", 2.0, 1.0).reached && told(&[Goal::at_most("x", 2.0, 1.0)]).contains("missed"));
    }

    #[test]
    fn a_plot_has_a_point_for_each_size() {
        let rows: Vec<Row> = ["1", "4", "16"].map(|size| row(Case::GrowthFirst, size, 2.0)).to_vec();
        let svg = plot(&rows);
        assert!(svg.contains("82,48 184,48 592,48"), "{svg}");
    }
}
