//! Numbers in decimal digits, for what is written for every request.

/// Appends a number with at least `width` digits: the formatting of the standard library costs five
/// times as much.
pub(crate) fn push(out: &mut Vec<u8>, number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    let mut rest = number;
    while rest > 0 || start + width > digits.len() {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::push;

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        for number in [0, 7, 10, 999, u64::MAX] {
            let (mut plain, mut wide) = (Vec::new(), Vec::new());
            push(&mut plain, number, 1);
            assert_eq!(plain, number.to_string().as_bytes());
            push(&mut wide, number, 4);
            assert_eq!(wide, format!("{number:04}").as_bytes());
        }
    }
}
