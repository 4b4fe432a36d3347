//! The buffer that a connection reads into.

use bytes::BytesMut;

/// Makes room for a read of about `room` bytes: at the beginning of the buffer if nobody holds what
/// was read before, for there it is in the processor's cache; else behind that, or in a new one.
pub(crate) fn make_room(input: &mut BytesMut, room: usize) {
    let left = input.capacity() - input.len();
    if left < room && !input.try_reclaim(room) && left < room / 2 {
        input.reserve(room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_nobody_holds_is_used_from_its_beginning() {
        let mut input = BytesMut::new();
        make_room(&mut input, 1024);
        let first = input.as_ptr();
        input.extend_from_slice(&[b'x'; 300]);
        let head = input.split_to(300).freeze();
        make_room(&mut input, 1024);
        assert_eq!(input.as_ptr(), first.wrapping_add(300), "there is room behind what is held");
        drop(head);
        make_room(&mut input, 1024);
        assert_eq!(input.as_ptr(), first);
        input.extend_from_slice(&[b'x'; 600]);
        let held = input.split_to(600).freeze();
        make_room(&mut input, 1024);
        assert!(input.capacity() >= 1024 && held.len() == 600);
    }
}
