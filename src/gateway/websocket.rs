//! Where one frame of a WebSocket ends and the next begins (RFC 6455 §5.2), as far as that is needed
//! to say a word in between.

/// Follows the bytes of one direction.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    /// What of a frame's head has come.
    head: [u8; LONGEST_HEAD],
    length: usize,
    /// Bytes of the frame's payload that are still to come.
    left: u64,
}

impl Boundary {
    /// Notes what was passed on.
    pub(super) fn pass(&mut self, mut data: &[u8]) {
        while let Some((first, rest)) = data.split_first() {
            if self.left > 0 {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
                self.left -= count as u64;
                data = &data[count..];
                continue;
            }
            self.head[self.length] = *first;
            self.length += 1;
            data = rest;
            if let Some(payload) = payload(&self.head[..self.length]) {
                (self.length, self.left) = (0, payload);
            }
        }
    }

    /// Whether another frame may begin here.
    pub(super) fn is_here(&self) -> bool {
        self.length == 0 && self.left == 0
    }
}

/// The length of the payload, once the head is complete.
fn payload(head: &[u8]) -> Option<u64> {
    let second = head.get(1)?;
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if head.len() < 2 + extended + mask {
        return None;
    }
    let long = head[2..2 + extended].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Some(if extended == 0 { u64::from(second & 0x7f) } else { long })
}

/// Two bytes, eight of length, four of mask.
const LONGEST_HEAD: usize = 14;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x82];
        match length {
            0..126 => frame.push(mask | u8::try_from(length).unwrap()),
            126..65_536 => {
                frame.push(mask | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend(u64::try_from(length).unwrap().to_be_bytes());
            }
        }
        frame.extend(vec![0xff; length + if masked { 4 } else { 0 }]);
        frame
    }

    proptest! {
        /// However the bytes are cut, another frame may begin behind each frame and nowhere else.
        #[test]
        fn frames_are_followed(
            lengths in prop::collection::vec(prop_oneof![0..4usize, 124..130usize, 65_530..65_540usize], 1..6),
            masked: bool,
            cut in 1..70_000usize,
        ) {
            let mut ends = vec![0];
            let mut bytes = Vec::new();
            for length in lengths {
                bytes.extend(frame(length, masked));
                ends.push(bytes.len());
            }
            let (mut boundary, mut at) = (Boundary::default(), 0);
            for piece in bytes.chunks(cut.min(bytes.len())) {
                boundary.pass(piece);
                at += piece.len();
                // The mask of a frame belongs to its head.
                prop_assert_eq!(boundary.is_here(), ends.contains(&at), "at {}", at);
            }
            prop_assert!(boundary.is_here());
        }

        #[test]
        fn nothing_panics(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..20)) {
            let mut boundary = Boundary::default();
            pieces.iter().for_each(|piece| boundary.pass(piece));
        }
    }
}
