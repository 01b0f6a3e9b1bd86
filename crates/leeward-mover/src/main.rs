//! `leeward-mover`: recovery points of disk images, from the command line.
//!
//! stdout is data, stderr is talk. With `-o json` stdout gets one JSON value: the verb's answer, or `{"error": …}`. Exit codes: 0
//! done, 1 failed on the way (repeat to go on), 2 wrong usage, 3 refused: what is asked for, or what is there, has to change first.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
