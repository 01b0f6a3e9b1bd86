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
    layer.remove(&new).map_err(files("clearing the place of"))?;
    let mut stream = Stream::new(layer.create(&new).map_err(files("making"))?, 0);
    stream.write_all(&bytes).map_err(files("writing"))?;
    stream.into_file().sync().map_err(files("putting on stable storage"))?;
    layer.rename(&new, place).map_err(files("naming"))
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
