//! A second file with the same bytes.

use crate::block::{BLOCK_BYTES, is_zero};
use crate::error::PointError;
use crate::layer::{Layer, LayerFile, Readable, read_exact_at};
use crate::place::Place;
use crate::scan::STRIDE;

/// A new file with the bytes of another: a clone if that is possible.
pub(crate) fn duplicate<L: Layer>(layer: &L, from: &Place, to: &Place) -> Result<(), PointError> {
    match layer.clone_file(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
            let source = layer.open_to_read(from).map_err(PointError::files("opening", from))?;
            copy(layer, &source, from, to)
        }
        cloned => cloned.map_err(PointError::files("cloning", from)),
    }
}

/// Copies what is neither a hole nor zero in `source`, which is called `from`.
pub(crate) fn copy<L: Layer>(layer: &L, source: &impl Readable, from: &Place, to: &Place) -> Result<(), PointError> {
    let size = source.size().map_err(PointError::files("measuring", from))?;
    let target = layer.create(to).map_err(PointError::files("making", to))?;
    target.set_size(size).map_err(PointError::files("resizing", to))?;
    let longest = usize::try_from(size.min(STRIDE * BLOCK_BYTES)).unwrap_or_default();
    let (mut buffer, mut at) = (vec![0; longest], 0);
    while let Some(data) = source.next_data(at).map_err(PointError::files("reading", from))? {
        at = data.start;
        while at < data.end {
            let length = usize::try_from(data.end - at).unwrap_or(longest).min(longest);
            let bytes = &mut buffer[..length];
            read_exact_at(source, at, bytes).map_err(|source| match source.kind() {
                std::io::ErrorKind::UnexpectedEof => PointError::Shrunk { place: from.clone() },
                _ => PointError::files("reading", from)(source),
            })?;
            if !is_zero(bytes) {
                target.write_at(at, bytes).map_err(PointError::files("writing", to))?;
            }
            at += length as u64;
        }
    }
    Ok(())
}
