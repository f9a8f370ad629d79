//! Lists are read in pages.

/// A page of a list, numbered from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    number: u64,
    size: u32,
}

impl Page {
    /// The most entries that a page has: what one request may make the server read and hold.
    pub const MAX_SIZE: u32 = 1000;
    /// The entries of a page when nobody says how many.
    pub const DEFAULT_SIZE: u32 = 20;

    /// The page of this number and so many entries. Numbers below 1 mean the first page and the default size, larger sizes than
    /// [`Self::MAX_SIZE`] that size.
    pub fn new(number: i64, size: i64) -> Self {
        let size = if size < 1 { Self::DEFAULT_SIZE } else { u32::try_from(size).unwrap_or(Self::MAX_SIZE).min(Self::MAX_SIZE) };
        Self { number: u64::try_from(number).unwrap_or(1).max(1), size }
    }

    /// Its number, from 1.
    pub const fn number(self) -> u64 {
        self.number
    }

    /// How many entries it has at most.
    pub const fn size(self) -> u32 {
        self.size
    }

    /// How many entries come before it; as many as a database can count at most.
    pub fn offset(self) -> i64 {
        i64::try_from((self.number - 1).saturating_mul(u64::from(self.size))).unwrap_or(i64::MAX)
    }

    /// The number of the last page of a list of `total` entries. An empty list has one page, which is empty.
    pub fn last(self, total: u64) -> u64 {
        total.div_ceil(u64::from(self.size)).max(1)
    }
}

impl Default for Page {
    fn default() -> Self {
        Self { number: 1, size: Self::DEFAULT_SIZE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_bounded_whatever_is_asked_for() {
        for ((number, size), (offset, expected)) in [
            ((1, 20), (0, 20)),
            ((3, 7), (14, 7)),
            ((0, 0), (0, Page::DEFAULT_SIZE)),
            ((-5, -1), (0, Page::DEFAULT_SIZE)),
            ((i64::MIN, i64::MIN), (0, Page::DEFAULT_SIZE)),
            ((2, i64::MAX), (1000, Page::MAX_SIZE)),
            ((i64::MAX, 1000), (i64::MAX, 1000)),
            ((i64::MAX, 1), (i64::MAX - 1, 1)),
        ] {
            let page = Page::new(number, size);
            assert_eq!((page.offset(), page.size()), (offset, expected), "{number}, {size}");
        }
        assert_eq!(Page::default(), Page::new(1, 20));
    }

    #[test]
    fn the_last_page_has_what_is_left() {
        for (total, last) in [(0, 1), (1, 1), (20, 1), (21, 2), (40, 2), (u64::MAX, u64::MAX / 20 + 1)] {
            assert_eq!(Page::default().last(total), last, "{total}");
        }
    }
}
