//! Collects the driver profiles, so that a new one is a new file and nothing else.

use std::{env, fs, path::Path};

fn main() -> std::io::Result<()> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("profiles");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut files: Vec<_> = fs::read_dir(&folder)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    // The order of a directory is chance; builds are reproducible.
    files.sort();
    let list: String =
        files.iter().map(|f| format!("({:?}, include_str!({f:?})),", f.file_stem().unwrap_or_default())).collect();
    fs::write(Path::new(&env::var("OUT_DIR").unwrap_or_default()).join("profiles.rs"), format!("&[{list}]"))
}
