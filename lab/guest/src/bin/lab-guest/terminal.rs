//! The serial console: lines out, commands in.

use leeward_lab_guest::console::Line;
use rustix::termios::{LocalModes, OptionalActions, tcdrain, tcgetattr, tcsetattr};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    sync::Mutex,
};

pub(crate) struct Terminal {
    input: File,
    output: Mutex<File>,
}

impl Terminal {
    pub(crate) fn open() -> io::Result<Terminal> {
        let mut file = OpenOptions::new().read(true).write(true).open("/dev/ttyS0")?;
        let mut modes = tcgetattr(&file)?;
        // What the host types would come back to it, and into its log, in the middle of our lines.
        modes.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        tcsetattr(&file, OptionalActions::Now, &modes)?;
        // The firmware may have left the line half full.
        file.write_all(b"\n")?;
        Ok(Terminal { input: file.try_clone()?, output: Mutex::new(file) })
    }

    /// One line, whole, whatever other threads print. A console that cannot be written leaves nobody to tell.
    pub(crate) fn print(&self, line: &Line) {
        if let Ok(mut output) = self.output.lock() {
            let _ = output.write_all(format!("{line}\n").as_bytes());
        }
    }

    /// Waits until everything printed has left the machine.
    pub(crate) fn drain(&self) {
        if let Ok(output) = self.output.lock() {
            let _ = tcdrain(&*output);
        }
    }

    /// Calls `act` with every line that comes in, until it returns `Some` or the console ends.
    pub(crate) fn for_each_line(&self, act: impl Fn(&str) -> Option<()>) {
        for line in BufReader::new(&self.input).lines().map_while(Result::ok) {
            if act(&line).is_some() {
                return;
            }
        }
    }
}
