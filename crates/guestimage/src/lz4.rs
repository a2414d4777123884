//! Unpacks LZ4's legacy frames, in which Debian's kernels are compressed.
//!
//! The format is the kernel's own (`lib/decompress_unlz4.c`, "Legacy frame" in LZ4's `lz4_Frame_format.md`): a magic
//! number, then blocks of a 32-bit length and that many bytes, each unpacking to at most 8 MiB on its own.

/// What a legacy frame begins with.
pub(crate) const MAGIC: u32 = 0x184C_2102;

/// What a block unpacks to, at most.
const BLOCK_LIMIT: usize = 8 << 20;

/// Unpacks a frame to at most `limit` bytes; `None` when it is damaged or larger.
pub(crate) fn unpack(frame: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut input = frame;
    if take_u32(&mut input)? != MAGIC {
        return None;
    }
    let mut output = Vec::new();
    while !input.is_empty() {
        let length = take_u32(&mut input)?;
        // Frames may follow each other.
        if length == MAGIC {
            continue;
        }
        let block = input.get(..length as usize)?;
        input = &input[length as usize..];
        unpack_block(block, &mut output)?;
        if output.len() > limit {
            return None;
        }
    }
    Some(output)
}

/// One block (`lz4_Block_format.md`): sequences of literals and a copy of earlier output.
fn unpack_block(mut input: &[u8], output: &mut Vec<u8>) -> Option<()> {
    let start = output.len();
    loop {
        let token = take(&mut input)?;
        let literals = length(token >> 4, &mut input)?;
        output.extend_from_slice(input.get(..literals)?);
        input = &input[literals..];
        // The last sequence has literals only.
        if input.is_empty() {
            return Some(());
        }
        let distance = usize::from(u16::from_le_bytes([take(&mut input)?, take(&mut input)?]));
        let count = length(token & 15, &mut input)? + 4;
        let from = output
            .len()
            .checked_sub(distance)
            .filter(|from| distance > 0 && *from >= start)?;
        if output.len() - start + count > BLOCK_LIMIT {
            return None;
        }
        if distance >= count {
            output.extend_from_within(from..from + count);
        } else {
            // The copy overlaps what it writes: a run repeats.
            for index in from..from + count {
                output.push(*output.get(index)?);
            }
        }
    }
}

/// A length of four bits, continued in further bytes while these are 255.
fn length(nibble: u8, input: &mut &[u8]) -> Option<usize> {
    let mut length = usize::from(nibble);
    if nibble == 15 {
        loop {
            let byte = take(input)?;
            length += usize::from(byte);
            if byte != 255 {
                break;
            }
        }
    }
    (length <= BLOCK_LIMIT).then_some(length)
}

fn take(input: &mut &[u8]) -> Option<u8> {
    let (first, rest) = input.split_first()?;
    *input = rest;
    Some(*first)
}

fn take_u32(input: &mut &[u8]) -> Option<u32> {
    let (number, rest) = input.split_first_chunk::<4>()?;
    *input = rest;
    Some(u32::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(blocks: &[&[u8]]) -> Vec<u8> {
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        for block in blocks {
            bytes.extend_from_slice(&u32::try_from(block.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(block);
        }
        bytes
    }

    #[test]
    fn literals_copies_and_runs_are_unpacked() {
        // "abc", then 9 bytes from 3 back (a run of "abc"), then "xy" as the last literals.
        let block = [0x35, b'a', b'b', b'c', 3, 0, 0x20, b'x', b'y'];
        assert_eq!(
            unpack(&frame(&[&block, &block]), 100).unwrap(),
            b"abcabcabcabcxyabcabcabcabcxy"
        );
    }

    #[test]
    fn long_lengths_go_on_in_further_bytes() {
        let mut block = vec![0xf0, 255, 30];
        block.extend_from_slice(&[b'z'; 300]);
        assert_eq!(unpack(&frame(&[&block]), 300).unwrap(), [b'z'; 300]);
    }

    #[test]
    fn damaged_frames_are_refused_and_never_read_out_of_bounds() {
        let good = frame(&[&[0x35, b'a', b'b', b'c', 3, 0, 0x20, b'x', b'y']]);
        for end in 0..good.len() {
            // The magic alone is an empty frame.
            assert_eq!(
                unpack(&good[..end], 100).is_some(),
                end == 4,
                "cut at {end}"
            );
        }
        let cases: [&[u8]; 4] = [
            &[0x10, b'a', 0, 0, 0x00], // a copy from distance 0
            &[0x10, b'a', 9, 0, 0x00], // a copy from before the block
            &[0xf0, 255, 255, 255],    // a length without an end
            &[0x1f, b'a', 1, 0, 255, 255],
        ];
        for block in cases {
            assert!(unpack(&frame(&[block]), 1000).is_none(), "{block:?}");
        }
        assert!(unpack(&good, 5).is_none(), "more than the limit");
    }
}
