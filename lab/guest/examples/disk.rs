//! By hand: `disk format FILE SERIAL BYTES`, `disk scan FILE…`, `disk initramfs OUT GUEST MODULE…`.

use leeward_lab_guest::{chain, image, initramfs};
use std::{env, error::Error, fs::File, io::BufReader, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["format", file, serial, bytes] => image::format_image(file.as_ref(), serial, bytes.parse()?)?,
        ["scan", ref files @ ..] => {
            for file in files {
                let report = chain::scan(BufReader::new(File::open(file)?))?;
                let last =
                    report.last.map_or_else(String::new, |last| format!(", last at {} ({})", last.site, last.time));
                let state = report.broken.map_or_else(|| "whole".to_owned(), |broken| broken.to_string());
                println!("{file}: {} records{last}: {state}", report.records);
            }
        }
        ["initramfs", out, guest, ref modules @ ..] => {
            let modules: Vec<PathBuf> = modules.iter().map(PathBuf::from).collect();
            initramfs::build(guest.as_ref(), &modules, out.as_ref())?;
        }
        _ => return Err("usage: disk format FILE SERIAL BYTES | scan FILE… | initramfs OUT GUEST MODULE…".into()),
    }
    Ok(())
}
