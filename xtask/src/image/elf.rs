//! What can be seen in a program's file of whether it runs in an image that holds nothing else.

use anyhow::{Context, Result, bail, ensure};

/// A segment that names the program which has to load this one: there is none in a static program.
const INTERPRETER: u32 = 3;

/// Refuses what is no 64-bit Linux program of this architecture, or needs another file to run.
pub(super) fn check(program: &[u8], machine: u16) -> Result<()> {
    ensure!(program.starts_with(b"\x7fELF\x02\x01"), "the program is no 64-bit little-endian ELF file");
    let found = u16::from_le_bytes(field(program, 18)?);
    ensure!(found == machine, "the program is for machine {found} of ELF's list and not for {machine}");
    let table = usize::try_from(u64::from_le_bytes(field(program, 32)?))?;
    let size = usize::from(u16::from_le_bytes(field(program, 54)?));
    let count = usize::from(u16::from_le_bytes(field(program, 56)?));
    for segment in 0..count {
        if u32::from_le_bytes(field(program, table.saturating_add(segment * size))?) == INTERPRETER {
            bail!("the program is not linked statically: it needs a loader that the image does not have");
        }
    }
    Ok(())
}

fn field<const N: usize>(program: &[u8], at: usize) -> Result<[u8; N]> {
    let bytes = at.checked_add(N).and_then(|end| program.get(at..end));
    Ok(bytes.context("the program's file is cut off")?.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of a file with these segments.
    fn elf(machine: u16, segments: &[u32]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file[32..40].copy_from_slice(&64_u64.to_le_bytes());
        file[54..56].copy_from_slice(&56_u16.to_le_bytes());
        file[56..58].copy_from_slice(&u16::try_from(segments.len()).unwrap().to_le_bytes());
        for kind in segments {
            let mut segment = vec![0; 56];
            segment[..4].copy_from_slice(&kind.to_le_bytes());
            file.extend(segment);
        }
        file
    }

    #[test]
    fn only_a_static_program_of_the_right_machine_passes() {
        let refused = |file: &[u8]| check(file, 62).unwrap_err().to_string();
        check(&elf(62, &[1, 2, 1]), 62).unwrap();
        assert!(refused(&elf(62, &[1, INTERPRETER])).contains("statically"));
        assert!(refused(&elf(183, &[1])).contains("183"));
        assert!(refused(b"#!/bin/sh\n").contains("no 64-bit"));
        let whole = elf(62, &[1, 1]);
        assert!(refused(&whole[..80]).contains("cut off"));
    }

    #[test]
    fn a_program_of_this_machine_is_read() {
        // This test itself: linked as usual, with a loader.
        let myself = fs_err::read(std::env::current_exe().unwrap()).unwrap();
        let machine = u16::from_le_bytes(field(&myself, 18).unwrap());
        assert!(check(&myself, machine).unwrap_err().to_string().contains("statically"));
    }
}
