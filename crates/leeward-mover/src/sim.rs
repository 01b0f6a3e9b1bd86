//! A file system that keeps only what was synced, for tests.
//!
//! What a crash of the machine leaves is drawn by lot: of the writes to a file since its last sync any may be there and any may
//! not, in part too; of the changes to a folder since its last sync likewise. So it forgets more than real ones do, which
//! keep some order among names.

use crate::layer::{Hold, Identity, Kind, Layer, LayerFile, Owner, Readable};
use crate::place::Place;
use node::{Name, Node, TOP, Write, forget, new_folder, rename, tear, write};
use rand::Rng;
use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::rc::Rc;

mod node;

/// All is root's.
const OWNER: Owner = Owner { user: 0, group: 0, mode: 0o600 };

#[derive(Debug, Clone)]
struct State {
    nodes: Vec<Node>,
    /// Effects until everything stops.
    left: Option<u64>,
    effects: u64,
    syncs: u64,
    clones: bool,
    links: bool,
    free: u64,
}

/// The file system.
#[derive(Debug, Clone)]
pub(crate) struct Sim(Rc<RefCell<State>>);

/// An open file.
#[derive(Debug, Clone)]
pub(crate) struct SimFile {
    sim: Sim,
    node: usize,
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Sim {
    /// An empty one. `clones`: whether files can share blocks.
    pub(crate) fn new(clones: bool) -> Self {
        Self(Rc::new(RefCell::new(State {
            nodes: vec![new_folder()],
            left: None,
            effects: 0,
            syncs: 0,
            clones,
            links: true,
            free: u64::MAX,
        })))
    }

    /// Stops everything after so many effects from now on.
    pub(crate) fn stop_after(&self, effects: u64) {
        self.0.borrow_mut().left = Some(effects);
    }

    /// Refuses second names from now on.
    pub(crate) fn refuse_links(&self) {
        self.0.borrow_mut().links = false;
    }

    /// Says that so many bytes are free.
    pub(crate) fn set_free(&self, free: u64) {
        self.0.borrow_mut().free = free;
    }

    /// Effects so far.
    pub(crate) fn effects(&self) -> u64 {
        self.0.borrow().effects
    }

    /// How often a file was put on stable storage so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.0.borrow().syncs
    }

    /// Everything is on stable storage.
    pub(crate) fn settled(&self) {
        for node in &mut self.0.borrow_mut().nodes {
            match node {
                Node::File { live, stable, since, .. } => {
                    stable.clone_from(live);
                    since.clear();
                }
                Node::Folder { live, stable, since } => {
                    stable.clone_from(live);
                    since.clear();
                }
            }
        }
    }

    /// The process was killed: the file system goes on as it is.
    pub(crate) fn killed(&self) -> Self {
        let mut state = self.0.borrow().clone();
        state.left = None;
        forget(&mut state.nodes);
        Self(Rc::new(RefCell::new(state)))
    }

    /// The machine crashed.
    pub(crate) fn crashed(&self, lot: &mut impl Rng) -> Self {
        let mut state = self.0.borrow().clone();
        state.left = None;
        for node in &mut state.nodes {
            match node {
                Node::File { live, stable, since, .. } => {
                    for write in since.drain(..) {
                        if lot.random_bool(0.5) {
                            tear(stable, &write, lot);
                        }
                    }
                    live.clone_from(stable);
                }
                Node::Folder { live, stable, since } => {
                    for name in since.drain(..) {
                        if lot.random_bool(0.5) {
                            rename(stable, &name);
                        }
                    }
                    live.clone_from(stable);
                }
            }
        }
        forget(&mut state.nodes);
        Self(Rc::new(RefCell::new(state)))
    }

    fn effect(&self) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.effects += 1;
        match &mut state.left {
            Some(0) => Err(io::Error::other("everything has stopped")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn find(&self, place: &str) -> io::Result<usize> {
        let state = self.0.borrow();
        let mut at = TOP;
        for part in place.split('/').filter(|part| !part.is_empty()) {
            let Node::Folder { live, .. } = &state.nodes[at] else { return Err(io::ErrorKind::NotADirectory.into()) };
            at = *live.get(part).ok_or_else(not_found)?;
        }
        Ok(at)
    }

    fn folder(&self, place: &Place) -> io::Result<usize> {
        self.find(place.parent().as_ref().map_or("", |parent| parent.as_str()))
    }

    fn name(&self, folder: usize, change: Name) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let Node::Folder { live, since, .. } = &mut state.nodes[folder] else {
            return Err(io::ErrorKind::NotADirectory.into());
        };
        rename(live, &change);
        since.push(change);
        Ok(())
    }

    fn make(&self, place: &Place, node: Node) -> io::Result<usize> {
        self.effect()?;
        let folder = self.folder(place)?;
        if self.find(place.as_str()).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let made = {
            let mut state = self.0.borrow_mut();
            state.nodes.push(node);
            state.nodes.len() - 1
        };
        self.name(folder, Name::Is(place.name().to_owned(), made))?;
        Ok(made)
    }

    fn is_folder(&self, node: usize) -> bool {
        matches!(self.0.borrow().nodes[node], Node::Folder { .. })
    }

    /// The bytes of a file.
    pub(crate) fn bytes(&self, place: &Place) -> io::Result<Vec<u8>> {
        let file = self.open(place)?;
        let mut bytes = vec![0; usize::try_from(file.size()?).unwrap_or(0)];
        file.read_at(0, &mut bytes)?;
        Ok(bytes)
    }
}

impl Layer for Sim {
    type File = SimFile;
    type Lock = ();

    fn open(&self, place: &Place) -> io::Result<SimFile> {
        let node = self.find(place.as_str())?;
        if self.is_folder(node) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(SimFile { sim: self.clone(), node })
    }

    fn open_to_read(&self, place: &Place) -> io::Result<SimFile> {
        self.open(place)
    }

    fn folder_owner(&self, place: &Place) -> io::Result<Owner> {
        match self.is_folder(self.find(place.as_str())?) {
            true => Ok(OWNER),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn set_folder_owner(&self, place: &Place, _: Owner) -> io::Result<()> {
        self.folder_owner(place).map(drop)
    }

    fn link(&self, from: &Place, to: &Place) -> io::Result<()> {
        let (node, folder) = (self.find(from.as_str())?, self.folder(to)?);
        self.effect()?;
        if !self.0.borrow().links {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if self.find(to.as_str()).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.name(folder, Name::Is(to.name().to_owned(), node))
    }

    fn lock(&self, folder: &Place, _: Hold) -> io::Result<Option<()>> {
        self.find(folder.as_str()).map(|_| Some(()))
    }

    fn free(&self) -> io::Result<u64> {
        Ok(self.0.borrow().free)
    }

    fn create(&self, place: &Place) -> io::Result<SimFile> {
        let file = Node::File { live: Vec::new(), stable: Vec::new(), since: Vec::new(), version: 0 };
        Ok(SimFile { sim: self.clone(), node: self.make(place, file)? })
    }

    fn clone_file(&self, from: &Place, to: &Place) -> io::Result<()> {
        if !self.0.borrow().clones {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let bytes = self.bytes(from)?;
        let file = self.create(to)?;
        file.change(Write::All(bytes))
    }

    fn create_folder(&self, place: &Place) -> io::Result<()> {
        match self.make(place, new_folder()) {
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists && self.is_folder(self.find(place.as_str())?) =>
            {
                Ok(())
            }
            made => made.map(drop),
        }
    }

    fn rename(&self, from: &Place, to: &Place) -> io::Result<()> {
        self.effect()?;
        let folder = self.folder(from)?;
        if folder != self.folder(to)? {
            return Err(io::Error::other("the mover renames only inside a folder"));
        }
        self.find(from.as_str())?;
        if let Ok(there) = self.find(to.as_str())
            && let Node::Folder { live, .. } = &self.0.borrow().nodes[there]
            && !live.is_empty()
        {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.name(folder, Name::Renamed(from.name().to_owned(), to.name().to_owned()))
    }

    fn remove(&self, place: &Place) -> io::Result<()> {
        for (name, _) in self.list(place).unwrap_or_default() {
            self.remove(&place.join(&Place::parse(&name).map_err(io::Error::other)?))?;
        }
        match self.find(place.as_str()) {
            Ok(_) => {
                self.effect()?;
                self.name(self.folder(place)?, Name::Gone(place.name().to_owned()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn list(&self, place: &Place) -> io::Result<Vec<(String, Kind)>> {
        let node = match self.find(place.as_str()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            node => node?,
        };
        let state = self.0.borrow();
        let Node::Folder { live, .. } = &state.nodes[node] else { return Err(io::ErrorKind::NotADirectory.into()) };
        let kind = |node: usize| match state.nodes[node] {
            Node::File { .. } => Kind::File,
            Node::Folder { .. } => Kind::Folder,
        };
        Ok(live.iter().map(|(name, node)| (name.clone(), kind(*node))).collect())
    }

    fn sync_folder(&self, place: &Place) -> io::Result<()> {
        self.effect()?;
        let node = self.find(place.as_str())?;
        let mut state = self.0.borrow_mut();
        let Node::Folder { live, stable, since } = &mut state.nodes[node] else {
            return Err(io::ErrorKind::NotADirectory.into());
        };
        stable.clone_from(live);
        since.clear();
        Ok(())
    }
}

impl SimFile {
    fn with<T>(&self, read: impl FnOnce(&[u8], i64) -> T) -> T {
        match &self.sim.0.borrow().nodes[self.node] {
            Node::File { live, version, .. } => read(live, *version),
            Node::Folder { .. } => read(&[], 0),
        }
    }

    fn change(&self, change: Write) -> io::Result<()> {
        self.sim.effect()?;
        if let Node::File { live, since, version, .. } = &mut self.sim.0.borrow_mut().nodes[self.node] {
            write(live, &change);
            since.push(change);
            *version += 1;
        }
        Ok(())
    }
}

impl Readable for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.with(|bytes, _| bytes.len() as u64))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.with(|bytes, _| {
            let from = bytes.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
            let read = buffer.len().min(bytes.len() - from);
            buffer[..read].copy_from_slice(&bytes[from..from + read]);
            read
        }))
    }

    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let size = self.size()?;
        Ok((from < size).then_some(from..size))
    }
}

impl LayerFile for SimFile {
    fn allocated(&self) -> io::Result<u64> {
        self.size()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(Write::Bytes(offset, bytes.to_vec()))
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        self.change(Write::Zero(range))
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.change(Write::Size(size))
    }

    fn sync(&self) -> io::Result<()> {
        self.sim.effect()?;
        self.sim.0.borrow_mut().syncs += 1;
        if let Node::File { live, stable, since, .. } = &mut self.sim.0.borrow_mut().nodes[self.node] {
            stable.clone_from(live);
            since.clear();
        }
        Ok(())
    }

    fn identity(&self) -> io::Result<Identity> {
        let (size, version) = self.with(|bytes, version| (bytes.len() as u64, version));
        Ok(Identity { size, inode: (0, self.node as u64), modified: (version, 0), changed: (version, 0) })
    }

    fn names(&self) -> io::Result<u64> {
        let names = |node: &Node| match node {
            Node::File { .. } => 0,
            Node::Folder { live, .. } => live.values().filter(|node| **node == self.node).count() as u64,
        };
        Ok(self.sim.0.borrow().nodes.iter().map(names).sum())
    }

    fn owner(&self) -> io::Result<Owner> {
        Ok(OWNER)
    }

    fn set_owner(&self, _: Owner) -> io::Result<()> {
        Ok(())
    }
}
