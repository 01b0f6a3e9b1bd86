//! `lab-guest`: the first and only process of a lab virtual machine.
//!
//! It scans every disk, then appends records to all of them until it is told to stop. Each disk has its own thread, so
//! that a slow disk does not hold up another one. A broken chain on any disk means that nothing is written to any.

mod boot;
mod clock;
mod command_line;
mod disk;
mod terminal;
mod writer;

use clock::Clock;
use command_line::CommandLine;
use disk::Disk;
use leeward_lab_guest::{
    chain::{ChainReport, Expected, scan_expecting},
    console::{ChainStatus, Line},
};
use std::{io, sync::Arc, thread};
use terminal::Terminal;
use writer::{StopSign, Writer};

/// Blocks after the end of a chain that must be zeros: all of a disk of 64 MiB. More would cost a large disk seconds of
/// start-up under emulation.
const LOOK_AHEAD: u64 = 16_384;

fn main() -> io::Result<()> {
    boot::mount_all()?;
    let terminal = Arc::new(Terminal::open()?);
    let result = run(&terminal);
    if let Err(error) = &result {
        terminal.print(&Line::Error { disk: "-".to_owned(), number: 0, detail: error.to_string() });
    }
    terminal.drain();
    boot::power_off()
}

fn run(terminal: &Arc<Terminal>) -> io::Result<()> {
    let options = CommandLine::read()?;
    let clock = Arc::new(Clock::default());
    terminal.print(&Line::Boot { vm: options.vm.clone(), site: options.site.clone(), time: clock.now() });
    boot::load_modules()?;

    let stop = Arc::new(StopSign::default());
    {
        let (terminal, stop) = (Arc::clone(terminal), Arc::clone(&stop));
        thread::spawn(move || terminal.for_each_line(|line| (line.trim() == "stop").then(|| stop.raise())));
    }

    let mut writers = Vec::new();
    let mut whole = true;
    for disk in Disk::all()? {
        let expected = Expected { serial: Some(disk.serial()), vm: Some(&options.vm), look_ahead: Some(LOOK_AHEAD) };
        let chain = scan_expecting(disk.reader(), &expected)?;
        terminal.print(&Line::Chain { disk: disk.serial().to_owned(), status: status(&chain) });
        whole &= chain.is_whole();
        writers.push(Writer {
            disk,
            chain,
            vm: options.vm.clone(),
            site: options.site.clone(),
            interval: options.interval,
            clock: Arc::clone(&clock),
            terminal: Arc::clone(terminal),
            stop: Arc::clone(&stop),
        });
    }
    if writers.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "this machine has no disk"));
    }
    if !whole {
        return Ok(());
    }
    let threads: Vec<_> = writers.into_iter().map(|writer| thread::spawn(move || writer.run())).collect();
    for thread in threads {
        // A writer ends when it is told to stop. If it panicked, its disk has no new records, which is seen outside.
        let _ = thread.join();
    }
    stop.wait();
    boot::sync();
    terminal.print(&Line::Stop { time: clock.now() });
    Ok(())
}

fn status(chain: &ChainReport) -> ChainStatus {
    match &chain.broken {
        Some(broken) => ChainStatus::Broken { at: broken.at, reason: broken.reason, detail: broken.detail.clone() },
        None => ChainStatus::Ok {
            records: chain.records,
            first: chain.first.as_ref().map_or(0, |record| record.number),
            last: chain.last.as_ref().map_or(0, |record| record.number),
            last_site: chain.last.as_ref().map_or_else(|| "-".to_owned(), |record| record.site.clone()),
            last_time: chain.last.as_ref().map_or(0, |record| record.time),
        },
    }
}
