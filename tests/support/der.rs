//! DER, as far as the tests write it by hand (X.690 section 10.1).

/// An element; `tag` has several bytes where its number is above 30.
pub fn element(tag: &[u8], contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let length = match contents.len() {
        0..=0x7f => vec![length[7]],
        0x80..=0xff => vec![0x81, length[7]],
        0x100..=0xffff => [&[0x82], &length[6..]].concat(),
        _ => [&[0x83], &length[5..]].concat(),
    };
    [tag, &length, contents].concat()
}

/// A SEQUENCE of these elements.
pub fn sequence(elements: &[&[u8]]) -> Vec<u8> {
    element(&[0x30], &elements.concat())
}

/// An INTEGER that is not negative.
pub fn integer(number: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if number.first().is_some_and(|first| *first < 0x80) { &[] } else { &[0] };
    element(&[0x02], &[sign, number].concat())
}

#[test]
fn lengths_take_as_many_bytes_as_they_must() {
    for (length, head) in
        [(0, &[4, 0][..]), (0x7f, &[4, 0x7f]), (0x80, &[4, 0x81, 0x80]), (0x100, &[4, 0x82, 1, 0]), (0x1_0000, &[4, 0x83, 1, 0, 0])]
    {
        assert_eq!(element(&[4], &vec![0; length])[..head.len()], *head);
    }
    assert_eq!((integer(&[0x7f]), integer(&[0x80]), integer(&[])), (vec![2, 1, 0x7f], vec![2, 2, 0, 0x80], vec![2, 1, 0]));
}
