//! Records beside a point's disks, and the folders that all of it is in.

use crate::error::PointError;
use crate::layer::{Kind, Layer, LayerFile, Stream};
use crate::place::Place;
use serde::{Serialize, de::DeserializeOwned};
use std::io::{Read, Write};

/// Bytes of the longest record that is read.
const LONGEST_RECORD: u64 = 64 << 20;

/// A record, if there is one.
pub(crate) fn load<T: DeserializeOwned, L: Layer>(layer: &L, place: &Place) -> Result<Option<T>, PointError> {
    let file = match layer.open(place) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(PointError::Files { doing: "opening", place: place.clone(), source }),
    };
    let mut bytes = Vec::new();
    Stream::new(file, 0).take(LONGEST_RECORD).read_to_end(&mut bytes).map_err(PointError::files("reading", place))?;
    let record = serde_json::from_slice(&bytes);
    record.map(Some).map_err(|error| PointError::Record { place: place.clone(), why: error.to_string() })
}

/// Writes a record, on stable storage but for its name.
pub(crate) fn save<T: Serialize, L: Layer>(layer: &L, place: &Place, record: &T) -> Result<(), PointError> {
    let files = |doing| PointError::files(doing, place);
    let new = place.with_suffix(".new");
    let bytes = serde_json::to_vec_pretty(record).map_err(|error| files("writing")(error.into()))?;
    if layer.open(&new).err().is_none_or(|error| error.kind() != std::io::ErrorKind::NotFound) {
        // One who was killed left it, half written perhaps. A crash could put that one's name there yet, and then the name that
        // this one gets.
        layer.remove(&new).map_err(files("clearing the place of"))?;
        sync_folder(layer, place.parent().as_ref())?;
    }
    let mut stream = Stream::new(layer.create(&new).map_err(files("making"))?, 0);
    stream.write_all(&bytes).map_err(files("writing"))?;
    stream.into_file().sync().map_err(files("putting on stable storage"))?;
    layer.rename(&new, place).map_err(files("naming"))
}

/// Puts the names in a folder, if there is one, on stable storage.
pub(crate) fn sync_folder<L: Layer>(layer: &L, folder: Option<&Place>) -> Result<(), PointError> {
    let Some(folder) = folder else { return Ok(()) };
    layer.sync_folder(folder).map_err(PointError::files("putting on stable storage", folder))
}

/// Puts files on stable storage, and all names in a folder.
pub(super) fn sync<L: Layer>(layer: &L, folder: &Place, files: &[Place]) -> Result<(), PointError> {
    let mut folders = vec![folder.clone()];
    let mut next = 0;
    while let Some(place) = folders.get(next).cloned() {
        for (entry, kind) in layer.list(&place).map_err(PointError::files("listing", &place))? {
            // What has a longer name than any of ours is not ours.
            if kind == Kind::Folder
                && let Ok(entry) = Place::parse(&entry)
            {
                folders.push(place.join(&entry));
            }
        }
        next += 1;
    }
    layer.sync_all(files, &folders).map_err(PointError::files("putting on stable storage", folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Sim;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn a_crash_leaves_a_record_whole_whoever_was_killed_before() {
        let place = Place::parse("top/record").unwrap();
        let lot = &mut StdRng::seed_from_u64(1);
        let sim = Sim::new(false);
        sim.create_folder(&Place::parse("top").unwrap()).unwrap();
        save(&sim, &place, &1).unwrap();
        sim.settled();
        for first in 0..6 {
            for second in 0..10 {
                for _ in 0..50 {
                    let sim = sim.killed();
                    sim.stop_after(first);
                    let _ = save(&sim, &place, &2);
                    let sim = sim.killed();
                    sim.stop_after(second);
                    let _ = save(&sim, &place, &3);
                    let found: Option<u8> = load(&sim.crashed(lot), &place).unwrap();
                    assert!(found.is_some_and(|found| (1..=3).contains(&found)), "{found:?}");
                }
            }
        }
    }
}
