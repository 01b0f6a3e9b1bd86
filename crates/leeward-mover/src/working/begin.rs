//! How a working copy comes to be.

use super::{STATE, digest, read, write};
use crate::duplicate::duplicate;
use crate::error::PointError;
use crate::layer::{Layer, LayerFile};
use crate::paths::Paths;
use crate::place::Place;
use crate::undo::{Log, chain};
use crate::view;

/// What a new working copy starts from.
#[derive(Debug, Clone)]
pub(crate) enum Start {
    /// Nothing: all of it is sent.
    Nothing,
    /// The same disk of an earlier point, with its manifest.
    Base(Paths),
    /// A file that may hold anything, be written meanwhile, or not be there. It is digested.
    Seed(Place),
}

/// An image, and the log that it needs.
pub(super) type Begun<L> = (<L as Layer>::File, Option<Log<<L as Layer>::File>>);

/// What there is of a working copy. One that some other point has too, and that no log protects, is none.
pub(super) fn there<L: Layer>(layer: &L, paths: &Paths, base: Option<&Paths>) -> Result<Option<Begun<L>>, PointError> {
    let place = &paths.image;
    let image = match layer.open(place) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(PointError::files("opening", place))?,
    };
    if image.names().map_err(PointError::files("looking at", place))? <= 1 {
        return Ok(Some((image, None)));
    }
    if let Some(base) = base
        && let Some(log) = chain::joined(layer, base, paths, &image)?
    {
        return Ok(Some((image, Some(log))));
    }
    layer.remove(place).map_err(PointError::files("clearing the place of", place))?;
    Ok(None)
}

/// A new working copy.
pub(super) fn begin<L: Layer>(layer: &L, paths: &Paths, start: &Start) -> Result<Begun<L>, PointError> {
    match start {
        Start::Nothing => Ok((empty(layer, paths)?, None)),
        Start::Base(base) => from_base(layer, paths, base),
        Start::Seed(seed) => match duplicate(layer, seed, &paths.image) {
            Ok(()) => {
                let image = layer.open(&paths.image).map_err(PointError::files("opening", &paths.image))?;
                digest(layer, paths, &image)?;
                Ok((image, None))
            }
            // It was only worth a try.
            Err(_) => {
                layer.remove(&paths.image).map_err(PointError::files("clearing the place of", &paths.image))?;
                Ok((empty(layer, paths)?, None))
            }
        },
    }
}

fn empty<L: Layer>(layer: &L, paths: &Paths) -> Result<L::File, PointError> {
    let image = layer.create(&paths.image).map_err(PointError::files("making", &paths.image))?;
    write(layer, &paths.blocks.with_suffix(STATE), 0, |_| Ok(()))?;
    Ok(image)
}

/// Begins with the base's bytes: by a clone, or by its file, or, if that is not the newest's or can have one name only, by a copy.
fn from_base<L: Layer>(layer: &L, paths: &Paths, base: &Paths) -> Result<Begun<L>, PointError> {
    let (place, state) = (&paths.image, paths.blocks.with_suffix(STATE));
    let older = read(layer, &base.manifest(), &base.image)?;
    let size = older.size();
    let is_tip = chain::settle(layer, base)?;
    let mut log = None;
    match is_tip.then(|| layer.clone_file(&base.image, place)) {
        Some(Err(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
            log = chain::join(layer, base, paths, size)?;
            if log.is_none() {
                view::duplicate(layer, base, size, place)?;
            }
        }
        Some(cloned) => cloned.map_err(PointError::files("cloning", &base.image))?,
        None => view::duplicate(layer, base, size, place)?,
    }
    write(layer, &state, size, |writer| {
        for block in older {
            let (index, digest) = block.map_err(PointError::manifest(&base.image))?;
            writer.push(index, digest).map_err(PointError::manifest(&base.image))?;
        }
        Ok(())
    })?;
    Ok((layer.open(place).map_err(PointError::files("opening", place))?, log))
}
