//! `FS_IOC_FIEMAP`, by the descriptor of an open file, which no crate has under a licence that we take: the kernel's Documentation/filesystems/fiemap.rst, include/uapi/linux/fiemap.h.
//!
//! This is the one place of the project with `unsafe`: one ioctl, whose argument is a structure of fixed length with no pointer in it.

use crate::extents::Extent;
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use std::io;
use std::os::fd::BorrowedFd;

/// Extents that are asked for at once.
const AT_ONCE: usize = 128;
/// Writes what is dirty first, so that it has a place.
const FLAG_SYNC: u32 = 0x1;
const EXTENT_LAST: u32 = 0x1;
/// Several of the file system's own extents in one.
const EXTENT_MERGED: u32 = 0x1000;
const EXTENT_SHARED: u32 = 0x2000;

/// `struct fiemap`, without its extents.
#[repr(C)]
struct Header {
    start: u64,
    length: u64,
    flags: u32,
    mapped_extents: u32,
    extent_count: u32,
    reserved: u32,
}

/// `struct fiemap_extent`.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawExtent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

/// What the kernel reads and fills: it writes no more extents than `header.extent_count`, which is as many as there is room for.
#[repr(C)]
struct Request {
    header: Header,
    extents: [RawExtent; AT_ONCE],
}

/// `_IOWR('f', 11, struct fiemap)`: the length is the header's, whatever comes behind it.
const FS_IOC_FIEMAP: Opcode = opcode::read_write::<Header>(b'f', 11);

const NO_EXTENT: RawExtent =
    RawExtent { logical: 0, physical: 0, length: 0, reserved64: [0; 2], flags: 0, reserved: [0; 3] };

#[allow(unsafe_code, reason = "an ioctl; see the module's text and the comment below")]
fn ask(fd: BorrowedFd<'_>, start: u64) -> rustix::io::Result<Box<Request>> {
    let extent_count = u32::try_from(AT_ONCE).unwrap_or(0);
    let header =
        Header { start, length: u64::MAX - start, flags: FLAG_SYNC, mapped_extents: 0, extent_count, reserved: 0 };
    let mut request = Box::new(Request { header, extents: [NO_EXTENT; AT_ONCE] });
    // SAFETY: the opcode is FS_IOC_FIEMAP, whose argument is a `struct fiemap` with `extent_count` extents behind it; `Request` is
    // laid out as that, all of it is initialized, all bit patterns the kernel may write are valid, and it lives during the call.
    unsafe { ioctl(fd, Updater::<FS_IOC_FIEMAP, Request>::new(&mut request))? };
    Ok(request)
}

/// All extents of a file; none if its file system does not tell.
///
/// # Errors
/// The file system.
pub(crate) fn extents(fd: BorrowedFd<'_>) -> io::Result<Option<Vec<Extent>>> {
    let (mut found, mut start) = (Vec::new(), 0);
    loop {
        let request = match ask(fd, start) {
            Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::BADR | Errno::INVAL) => return Ok(None),
            answer => answer?,
        };
        let count = usize::try_from(request.header.mapped_extents).unwrap_or(AT_ONCE).min(AT_ONCE);
        let mapped = &request.extents[..count];
        found.extend(mapped.iter().map(extent));
        match mapped.last() {
            Some(last) if last.flags & EXTENT_LAST == 0 && last.logical.saturating_add(last.length) > start => {
                start = last.logical.saturating_add(last.length);
            }
            _ => return Ok(Some(found)),
        }
    }
}

/// Only what lies on the device as it is, and in two files at least, is known to be the same wherever it is met: not what is
/// inline, encoded, not written yet, or still without a place.
fn extent(raw: &RawExtent) -> Extent {
    let known = raw.flags & !(EXTENT_LAST | EXTENT_MERGED) == EXTENT_SHARED;
    Extent { logical: raw.logical..raw.logical.saturating_add(raw.length), shared: known.then_some(raw.physical) }
}
